"""Guarded stages: a fault is retried, or becomes the clip's result, or aborts the run."""

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline import ending, stages
from pipeline.clip.clip import Clip
from pipeline.clip.tasks import ClipEnded, ClipLeft, ShardDone, ShardTask
from pipeline.ending import guarded
from pipeline.local import ThisProcess
from pipeline.media.sandbox import KilledFromOutside
from pipeline.runs.run import Run
from pipeline.stages import AssembleStage, Restorers, RestoreStage, SurveyStage
from pipeline.store import local
from pipeline.store.outage import patiently
from pipeline.store.retry import NIGHTLY
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from tests.support.environment.failing import failing
from tests.support.results import a_segment, run_of

pytest_plugins = ("tests.support.environment.failing",)
pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def work(tmp_path: Path) -> Run:
    return run_of(tmp_path, 1)


def guard(work: Run, step: Callable[[], str]) -> str | ClipEnded | ClipLeft:
    return guarded(Clip("c0", "c0.mkv"), work.settings, step)


def test_a_full_work_folder_is_retried(work: Run, clock: list[float]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/ar-shard-x")
    assert guard(work, failing(full, full, None)) == "done"
    assert len(clock) == 2
    assert guard(work, failing(full)) == ClipEnded("c0")
    result = work.settings.ledger.result("c0")
    assert (result.state, result.reason) == ("failed", Reason.DISK_FULL)
    assert "/tmp/ar-shard-x" in result.sentence
    assert 200 < sum(clock) < 600


def test_a_broken_clip_is_not_retried(work: Run, clock: list[float]) -> None:
    guard(work, failing(ClipFault(Reason.DECODE_CRC, "slice CRC mismatch"), None))
    assert work.settings.ledger.result("c0").reason is Reason.DECODE_CRC
    assert clock == []


def test_work_whose_decoder_was_killed_is_done_once_more(work: Run, clock: list[float]) -> None:
    killed = KilledFromOutside(Reason.DECODER_CRASH, "the decoder was killed by SIGKILL")
    assert guard(work, failing(killed, None)) == "done"
    assert guard(work, failing(killed, killed, None)) == ClipEnded("c0")
    assert work.settings.ledger.result("c0").reason is Reason.DECODER_CRASH
    assert clock == []


def test_a_result_that_cannot_be_written_aborts_the_run(
    work: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(*_: object) -> bool:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(work.settings.ledger, "commit_clip", dead)
    with caplog.at_level(logging.ERROR, ending.__name__):
        left = guard(work, failing(ClipFault(Reason.TRUNCATED, "12 of 50 frames")))
    assert left == ClipLeft("c0", Reason.SYSTEM_STOP, "STORE_ERROR: connection refused")
    assert "12 of 50 frames" in caplog.text
    with pytest.raises(ArchiveError, match="aborted: STORE_ERROR: connection refused") as caught:
        work.take(left)
    assert caught.value.exit_code == 1


def test_after_exhausted_retries_the_result_is_written_once(
    work: Run, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    def dead(*_: object) -> bool:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(local, "create", dead)
    left = guard(work, failing(ClipFault(Reason.STORE_ERROR, "connection refused")))
    assert isinstance(left, ClipLeft)
    assert 200 < sum(clock) < 300


@pytest.mark.parametrize("step", ["survey", "restoration", "assembly"])
def test_a_clip_that_kills_its_worker_again_and_again_is_quarantined(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt runs in a process of its own, which dies inside the step."""
    work = run_of(tmp_path, 1)
    monkeypatch.setattr(stages, "survey_clip", die)
    monkeypatch.setattr(stages, "survey_of", die)
    clip, here = work.todo[0], ThisProcess()
    stage: Callable[[], object]
    if step == "survey":
        stage = partial(SurveyStage(work.settings, here), clip)
    elif step == "restoration":  # of a small clip: it leaves nothing but its attempts
        task = ShardTask(clip, 0, 10, 1, 10, "{}")
        stage = partial(RestoreStage(work.settings, here, Restorers(1)), task)
    else:
        work.settings.ledger.commit_segment(clip.clip_id, a_segment())
        done = ShardDone(ShardTask(clip, 0, 10, 1, 10), "restored", {})
        stage = partial(AssembleStage(work.settings, here), done)
    for _ in range(stages.DEATHS_ALLOWED):
        assert exit_code(stage) == DEATH
    assert exit_code(stage) == 0  # the step is not tried again
    result = work.settings.ledger.result("c0")
    reason = Reason.GPU_LOST if step == "restoration" else Reason.WORKER_LOST
    assert (result.state, result.reason) == ("quarantined", reason)
    assert result.sentence.startswith("3 workers died ")


def test_a_survey_that_fails_kills_no_worker(
    work: Run, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ClipFault(Reason.STORE_ERROR, "reset")] * 5
    survey = failing(*faults, ClipFault(Reason.NO_VIDEO, "x"))
    monkeypatch.setattr(stages, "survey_clip", lambda *_: survey())
    assert SurveyStage(work.settings, ThisProcess())(work.todo[0]) == [ClipEnded("c0")]
    assert work.settings.ledger.result("c0").reason is Reason.NO_VIDEO
    assert len(clock) == 5


def test_a_dead_store_is_waited_for_once(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second clip of the store is tried once, and one of another store is retried."""
    work = run_of(tmp_path, 3)
    settings = replace(work.settings, cache=str(tmp_path / "cache"))

    def dead(*_: object) -> None:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(stages, "survey_clip", dead)
    stage = SurveyStage(settings, ThisProcess())
    first, second, third = work.todo

    def paused(clip: Clip) -> int:
        before = len(clock)
        (end,) = stage(clip)
        assert end == ClipEnded(clip.clip_id)
        assert settings.ledger.result(clip.clip_id).reason is Reason.STORE_ERROR
        return len(clock) - before

    assert paused(replace(first, source_uri="s3://dead/a.mkv")) > 10
    assert paused(replace(second, source_uri="s3://dead/b.mkv")) == 0
    assert paused(replace(third, source_uri="s3://other/c.mkv")) > 10
    back = failing(None)
    assert patiently(back, "s3://dead/d.mkv", tmp_path / "cache", NIGHTLY) == "done"
    assert len(list((tmp_path / "cache").glob("outage-*"))) == 1


def test_one_object_that_fails_is_no_outage_of_its_store(
    tmp_path: Path, clock: list[float]
) -> None:
    """Another source came from the store meanwhile, so the next clips are retried as ever."""
    cache, tries = tmp_path / "cache", 0

    def failing_beside_others() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            patiently(failing(None), "s3://films/good.mkv", cache, NIGHTLY)
        raise ClipFault(Reason.STORE_ERROR, "500 InternalError")

    for expected in (10, 10):
        before = len(clock)
        with pytest.raises(ClipFault):
            patiently(failing_beside_others, "s3://films/bad.mkv", cache, NIGHTLY)
        tries = 0
        assert len(clock) - before > expected
    assert not list(cache.glob("outage-*"))


DEATH = 139


def die(*arguments: object) -> None:
    os._exit(DEATH)


def exit_code(work: Callable[[], object]) -> int:
    """The exit code of a forked process that does the work."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
