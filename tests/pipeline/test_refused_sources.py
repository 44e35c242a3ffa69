"""Sources that no retry can read end at once, as faults of the clip."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip.clip import Clip
from pipeline.sources import fetch
from pipeline.store import local, storage, timely
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from tests.support.environment import broken_media
from tests.support.media import media_factory
from tests.support.media.media_factory import write_clip


def refused(source: Path, folder: Path, **row: Any) -> ClipFault:
    with pytest.raises(ClipFault) as caught:
        survey_clip(Clip("c", str(source), **row), Recipe(), folder / "cache")
    assert REASONS[caught.value.reason].kind == "clip", caught.value
    return caught.value


@pytest.mark.timeout(60)  # a pipe without a writer would block for ever
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (broken_media.pipe, "is a named pipe, not a file"),
        (broken_media.listener, "is a socket, not a file"),
        (Path.mkdir, "is a folder, not a file"),
        (broken_media.device, "is a device, not a file"),
        (broken_media.loop, "is a loop of links"),
    ],
    ids=["pipe", "socket", "folder", "device", "loop"],
)
def test_only_a_regular_file_is_a_source(
    make: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    make(tmp_path / "reel.mkv")
    make(tmp_path / "f_0001.dpx")
    for source, row in (("reel.mkv", {}), ("f_%04d.dpx", {"expected_fps": "24"})):
        fault = refused(tmp_path / source, tmp_path, **row)
        assert fault.reason is Reason.NOT_FOUND
        assert why in fault.sentence or "no file is named" in fault.sentence  # not listed


def test_an_impossible_path_is_the_fault_of_the_clip(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    long = refused(tmp_path / ("x" * 300), tmp_path)
    assert long.reason is Reason.NOT_FOUND
    assert "the name is too long" in long.sentence and len(long.sentence) < 500
    inside = refused(tmp_path / "file" / "reel.mkv", tmp_path)
    assert inside.reason is Reason.NOT_FOUND and "is not a folder" in inside.sentence


@pytest.mark.timeout(60)
def test_a_file_that_becomes_a_pipe_does_not_block(tmp_path: Path) -> None:
    """Between the look at it and its opening."""
    broken_media.pipe(tmp_path / "reel.mkv")
    with pytest.raises(ClipFault, match="is a named pipe"):
        fetch.checksums(tmp_path / "reel.mkv")


@pytest.mark.parametrize("step", ["stat", "read"])
def test_a_disk_that_cannot_read_the_source_is_not_tried_again(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **more: object) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = tmp_path / "reel.mkv"
    source.write_bytes(b"x")
    sound = os.stat

    def stat(path: object, **more: Any) -> Any:
        return (broken if path == str(source) else sound)(path, **more)  # type: ignore[operator]

    if step == "stat":
        monkeypatch.setattr(os, "stat", stat)
    else:
        monkeypatch.setattr(local, "open_regular", broken)
    fault = refused(source, tmp_path)
    assert fault.reason is Reason.DECODE_ERROR and "the disk cannot read" in fault.sentence


def test_a_disk_that_cannot_read_the_output_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(ClipFault) as caught:
        storage.read_bytes(tmp_path / "ledger.json")
    assert caught.value.reason is Reason.STORE_ERROR and caught.value.transient


def test_the_reading_of_a_disk_that_trickles_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reel.mkv").write_bytes(b"x")
    monkeypatch.setattr(timely, "START_SECONDS", -1.0)
    with pytest.raises(timely.TooSlow, match="the store sent less than it should"):
        fetch._read_into([], tmp_path / "reel.mkv")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("step", ["stat", "read"])
def test_a_disk_that_hangs_is_a_fault_of_the_store(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, answers = tmp_path / "reel.mkv", threading.Event()
    source.write_bytes(b"x")
    sound = os.stat

    def hang(*arguments: object, **more: object) -> Any:
        answers.wait()

    def stat(path: object, **more: Any) -> Any:
        return (hang if path == str(source) else sound)(path, **more)  # type: ignore[operator]

    monkeypatch.setattr(timely, "START_SECONDS", 0.05)
    if step == "stat":
        monkeypatch.setattr(os, "stat", stat)
    else:
        monkeypatch.setattr(local, "open_regular", hang)
    try:
        with pytest.raises(ClipFault, match=r"reel\.mkv: no answer for 0 s") as caught:
            survey_clip(Clip("c", str(source)), Recipe(), tmp_path / "cache")
    finally:
        answers.set()
    assert caught.value.reason is Reason.STORE_ERROR and caught.value.transient


def test_an_encrypted_file_is_refused_as_such(tmp_path: Path) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76" * 16,
        "encryption_kid": "a7" * 16,
    }
    drawn = media_factory.Clip(frames=3, mux_options=options, **media_factory.H264)
    write_clip(tmp_path / "reel.mp4", drawn)
    fault = refused(tmp_path / "reel.mp4", tmp_path)
    assert fault.reason is Reason.UNSUPPORTED_FORMAT and "is encrypted" in fault.sentence


def test_more_streams_than_can_be_read_are_refused_as_such(tmp_path: Path) -> None:
    sounds = tuple(media_factory.Sound("pcm_s16le", seed) for seed in range(70))
    write_clip(tmp_path / "reel.mkv", media_factory.Clip(frames=3, sounds=sounds))
    fault = refused(tmp_path / "reel.mkv", tmp_path)
    assert fault.reason is Reason.UNSUPPORTED_FORMAT
    assert "more than 64 streams" in fault.sentence


def test_an_empty_file_was_cut_off(tmp_path: Path) -> None:
    source = tmp_path / "empty.mkv"
    source.touch()
    fault = refused(source, tmp_path)
    assert fault.reason is Reason.TRUNCATED
    assert "the file is empty" in str(fault)
