"""The circuit breaker: ten clips in a row with one reason of the system end the run."""

from pathlib import Path

import pytest

from pipeline.ending import guarded
from pipeline.local import ThisProcess
from pipeline.runs.breaker import IN_A_ROW, Breaker
from pipeline.runs.results import failed
from pipeline.runs.run import Run
from pipeline.stages import SurveyStage
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from tests.support.environment.failing import failing
from tests.support.results import a_result, end, run_of

pytest_plugins = ("tests.support.environment.failing",)
pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def work(tmp_path: Path) -> Run:
    return run_of(tmp_path, 15)


def saw(breaker: Breaker, *reasons: Reason | None) -> list[bool]:
    results = (a_result(f"c{n}", reason=r and str(r)) for n, r in enumerate(reasons))
    return [breaker.saw(result) for result in results]


def test_the_breaker_trips_once_at_the_limit() -> None:
    breaker = Breaker(3)
    assert saw(breaker, *[Reason.STORE_ERROR] * 5) == [False, False, True, False, False]
    assert breaker.tripped and len(breaker.clips) == 5
    saw(breaker, None, Reason.TRUNCATED)
    assert breaker.tripped and len(breaker.clips) == 5


@pytest.mark.parametrize("between", [None, Reason.TRUNCATED, Reason.ACCESS_DENIED])
def test_another_end_resets_the_count(between: Reason | None) -> None:
    breaker = Breaker(3)
    assert not any(saw(breaker, *[Reason.STORE_ERROR] * 2, between, *[Reason.STORE_ERROR] * 2))


@pytest.mark.parametrize("reason", list(Reason))
def test_only_faults_of_the_system_trip_it(reason: Reason) -> None:
    assert any(saw(Breaker(3), reason, reason, reason)) == (REASONS[reason].kind != "clip")


def test_a_tripped_run_stops_and_commits_no_clip(work: Run) -> None:
    settings = work.settings
    survey = SurveyStage(settings, ThisProcess())
    for clip in work.todo:
        denied = failing(ClipFault(Reason.ACCESS_DENIED, f"{clip.source_uri}: 403"))
        stopped = settings.ledger.stopped()
        for item in survey(clip) if stopped else [guarded(clip, settings, denied)]:
            assert not isinstance(item, str)
            work.take(item)
    summary = work.close()
    assert summary["exit_code"] == 1
    assert summary["clips"]["quarantined"] == IN_A_ROW
    assert summary["left"] == summary["clips"]["held"] == 15 - IN_A_ROW
    assert "10 clips in a row failed with ACCESS_DENIED" in summary["stopped"]
    assert settings.ledger.summary() is None
    assert settings.ledger.done() == {}  # the next session tries every clip


def test_a_few_faults_of_the_system_fail_only_their_clips(work: Run) -> None:
    for n, clip in enumerate(work.todo):
        fault = ClipFault(Reason.INTERNAL if n % 2 else Reason.NOT_FOUND, "x")
        end(work, failed(clip, fault, work.settings))
    summary = work.close()
    assert (summary["exit_code"], summary["left"]) == (3, 0)
    assert "stopped" not in summary
