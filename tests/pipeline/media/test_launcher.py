"""Jobs are forked from a clean process: a dead launcher is replaced, and nothing outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.media import launcher
from pipeline.media.decoder import Decoder
from pipeline.media.sandbox import KilledFromOutside
from schemas.reasons import Reason
from tests.support.media.decoding import LIMITS, decode
from tests.support.media.media_factory import Clip, write_clip

PARENT = """
import os, sys
from pathlib import Path
from pipeline.media.decoder import Decoder
from schemas.recipe import Limits
decoder = Decoder(Path(sys.argv[1]), Limits()).__enter__()
next(iter(decoder))
print(decoder._child.process._launcher.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 MB of frames: more than its reader takes in before they are asked for."""
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    write_clip(path, Clip(frames=120, width=320, height=240))
    return path


def test_a_launcher_that_died_is_replaced(long_file: Path, sound_file: Path) -> None:
    with Decoder(long_file, LIMITS) as decoder:
        frames = iter(decoder)
        next(frames)
        assert decoder._child is not None
        first = decoder._child.process._launcher
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(KilledFromOutside) as caught:
            list(frames)
    assert caught.value.reason is Reason.INTERNAL  # the file did nothing
    assert len(decode(sound_file)) == 50
    assert launcher._current() is not first


def test_a_decoder_that_is_killed_is_no_fault_of_its_file(long_file: Path) -> None:
    with Decoder(long_file, LIMITS, count=0) as decoder:
        assert decoder._child is not None
        first = decoder._child.process._launcher
    with Decoder(long_file, LIMITS) as decoder:
        frames = iter(decoder)
        next(frames)
        for job in children_of(first.pid):
            job.kill()
        with pytest.raises(KilledFromOutside, match="SIGKILL") as caught:
            list(frames)
    assert caught.value.reason is Reason.DECODER_CRASH


def test_jobs_share_a_launcher_and_are_counted(sound_file: Path) -> None:
    decode(sound_file)
    before, seconds = launcher._current(), launcher.ENDED.cpu_seconds
    decode(sound_file)
    assert launcher._current() is before
    assert launcher.ENDED.cpu_seconds > seconds
    assert launcher.ENDED.peak_kib > 10_000


def test_launcher_and_jobs_end_with_their_parent(sound_file: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(sound_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = int(parent.stdout.readline())
        family = [said, *(job.pid for job in children_of(said))]
    ended = [psutil.Process(pid) for pid in family if psutil.pid_exists(pid)]
    assert psutil.wait_procs(ended, timeout=30)[1] == []


def children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
