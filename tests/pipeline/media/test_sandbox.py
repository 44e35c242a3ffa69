"""A child process that crashes, hangs or breaks a limit costs one clip."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.media.decoder import Decoder
from pipeline.media.launcher import child_environment
from pipeline.media.sandbox import Child, missing_walls
from schemas.reasons import Reason
from tests.support.media.decoding import LIMITS, decode, fault_of
from tests.support.media.media_factory import Clip, write_clip

# It runs where the launcher starts, which has av.open before any job.
HOOK = """
import os, sys
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    real = av.open
    def trapped(*args, **kwargs):
        if "{name}" in str(args[0]):
            {action}
        return real(*args, **kwargs)
    av.open = trapped
"""


def inject(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, action: str) -> None:
    """Makes children that are asked for `name` do `action` on opening it."""
    (folder / "sitecustomize.py").write_text(HOOK.format(name=name, action=action))
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_crash_costs_one_clip(
    sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = tmp_path / "poison.mkv"
    poison.write_bytes(sound_file.read_bytes())
    inject(monkeypatch, tmp_path, "poison.mkv", "os.kill(os.getpid(), 11)")
    fault = fault_of(poison)
    assert fault.reason is Reason.DECODER_CRASH
    assert "SIGSEGV" in fault.sentence
    assert len(decode(sound_file)) == 50


def test_a_hang_is_ended(sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow.mkv"
    slow.write_bytes(sound_file.read_bytes())
    inject(monkeypatch, tmp_path, "slow.mkv", "import time; time.sleep(60)")
    fault = fault_of(slow, replace(LIMITS, wall_seconds=2))
    assert fault.reason is Reason.DECODER_TIMEOUT
    assert "no end after 2 s" in fault.sentence


def test_our_own_error_is_not_blamed_on_the_file(
    sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, tmp_path, "sound.mkv", "raise KeyError('lost')")
    fault = fault_of(sound_file)
    assert fault.reason is Reason.INTERNAL
    assert "KeyError" in fault.sentence


@pytest.mark.parametrize(
    ("other", "reason"), [("/etc/hostname", Reason.ACCESS_DENIED), ("/nowhere", Reason.NOT_FOUND)]
)
def test_a_file_that_was_replaced_is_no_unsupported_format(
    other: str, reason: Reason, sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child may open no file but the one that was there when its walls were raised."""
    if "files" in missing_walls():
        pytest.skip("this kernel has no wall around files")
    inject(monkeypatch, tmp_path, "sound.mkv", f"args = ({other!r}, *args[1:])")
    fault = fault_of(sound_file)
    assert fault.reason is reason and "was it replaced just now?" in fault.sentence


def test_memory_beyond_the_limit_is_refused(
    sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, tmp_path, "sound.mkv", "bytearray(3 << 30)")
    fault = fault_of(sound_file, replace(LIMITS, address_space_mb=2048))
    assert fault.reason is Reason.MEDIA_BOMB


def test_the_child_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert not any("hush" in value for value in child_environment().values())


def test_a_slow_consumer_is_not_a_hang(sound_file: Path) -> None:
    limits = replace(LIMITS, wall_seconds=3)
    with Decoder(sound_file, limits) as decoder:
        for frame in decoder:
            if frame.index in (5, 30):
                time.sleep(1.6)


def test_leaving_early_ends_the_child(sound_file: Path) -> None:
    with Decoder(sound_file, LIMITS) as decoder:
        next(iter(decoder))
        child = decoder._child
    assert child is not None
    assert child.process.poll() is not None


def test_a_request_longer_than_an_argument_reaches_the_child(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", Clip(frames=2))
    request = {"path": str(tmp_path / "a.mkv"), "limits": {}, "padding": "x" * 200_000}
    with Child("pipeline.media.child.inspect", request, LIMITS) as child:
        while (record := child.record(0))[0] != b"E":
            pass
    assert json.loads(record[1])["video.codec"] == "ffv1"
