"""What a fault's class decides: waited out and tried again, never tried again, or the run's end."""

import errno
import logging
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from jobs.console.query import query
from pipeline import stages
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.tasks import ClipEnded, ClipLeft
from pipeline.runs.breaker import IN_A_ROW, Breaker
from pipeline.runs.results import failed
from pipeline.runs.run import Run
from pipeline.stages import SurveyStage, guarded
from pipeline.store import local, retry, s3, storage
from pipeline.store.retry import NIGHTLY, NO_RETRIES, VARIABLE, RetryPolicy, with_retries
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from tests.pipeline.runs.test_stop import quiet
from tests.support.media_factory import Clip, write_clip
from tests.support.results import a_result, end
from tests.support.studio import Studio

TRANSIENT = {Reason.STORE_THROTTLED, Reason.STORE_ERROR, Reason.DISK_FULL}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in no time."""
    slept: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    monkeypatch.setattr(retry.time, "monotonic", lambda: sum(slept))
    return slept


def failing(*faults: BaseException | None) -> Callable[[], str]:
    """A step that meets these troubles, one a try; None is a try that ends well."""
    left = list(faults)

    def step() -> str:
        fault = left.pop(0) if len(left) > 1 else left[0]
        if fault is not None:
            raise fault
        return "done"

    return step


@pytest.mark.parametrize("reason", list(Reason))
def test_only_transient_faults_are_tried_again(reason: Reason, clock: list[float]) -> None:
    step = failing(ClipFault(reason, "x"), ClipFault(reason, "x"), None)
    if reason in TRANSIENT:
        assert with_retries(step, NIGHTLY) == "done"
        assert len(clock) == 2
    else:
        with pytest.raises(ClipFault):
            with_retries(step, NIGHTLY)
        assert clock == []


def test_retries_end_and_are_not_made_twice(clock: list[float]) -> None:
    step = failing(ClipFault(Reason.STORE_ERROR, "503"))
    with pytest.raises(ClipFault) as caught:  # as a step of a clip that calls the store
        with_retries(lambda: with_retries(step, NIGHTLY), NIGHTLY)
    assert 200 < sum(clock) < 300
    assert caught.value.retried


def test_a_command_outside_a_run_does_not_wait(clock: list[float]) -> None:
    with pytest.raises(ClipFault):
        with_retries(failing(ClipFault(Reason.STORE_ERROR, "503"), None), NO_RETRIES)
    assert clock == []


def test_the_policy_of_a_run_comes_from_its_environment() -> None:
    assert RetryPolicy.of({}) == NIGHTLY
    assert RetryPolicy.of({VARIABLE: "0"}) == NO_RETRIES
    for wrong in ("soon", "-1", "inf", ""):
        with pytest.raises(ArchiveError, match="number of seconds"):
            RetryPolicy.of({VARIABLE: wrong})


def test_pauses_double_up_to_a_limit_and_differ() -> None:
    first, second = (list(islice(NIGHTLY.pauses(), 12)) for _ in range(2))
    assert first != second
    longest = [min(NIGHTLY.first_pause * 2**k, NIGHTLY.longest_pause) for k in range(12)]
    assert all(top / 2 <= pause <= top for pause, top in zip(first, longest, strict=True))


def answered(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


@pytest.mark.parametrize(
    ("trouble", "reason", "again"),
    [
        (answered(429, "TooManyRequests"), Reason.STORE_THROTTLED, True),
        (answered(503, "SlowDown"), Reason.STORE_THROTTLED, True),
        (answered(500, "InternalError"), Reason.STORE_ERROR, True),
        (answered(502, ""), Reason.STORE_ERROR, True),
        (answered(507, ""), Reason.DISK_FULL, True),
        (EndpointConnectionError(endpoint_url="http://s3"), Reason.STORE_ERROR, True),
        (ReadTimeoutError(endpoint_url="http://s3"), Reason.STORE_ERROR, True),
        (answered(403, "InvalidObjectState"), Reason.ARCHIVED_TIER, False),
        (answered(403, "AccessDenied"), Reason.ACCESS_DENIED, False),
        (answered(400, "ExpiredToken"), Reason.ACCESS_DENIED, False),
        (answered(404, "NoSuchKey"), Reason.NOT_FOUND, False),
    ],
)
def test_a_store_is_asked_again_where_that_may_help(
    trouble: Exception, reason: Reason, again: bool,
    clock: list[float], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class Store:
        asked = 0

        def head_object(self, **request: str) -> dict[str, Any]:
            self.asked += 1
            if self.asked < 3:
                raise trouble
            return {"ContentLength": 5, "ETag": '"e"'}

    store = Store()
    monkeypatch.setattr(s3, "_client", lambda: store)
    if again:
        assert storage.Store(NIGHTLY).stat("s3://bucket/key").size == 5
        assert store.asked == 3 and len(clock) == 2
    else:
        with pytest.raises(ClipFault) as caught:
            storage.Store(NIGHTLY).stat("s3://bucket/key")
        assert caught.value.reason is reason
        assert store.asked == 1
    assert REASONS[reason].kind == ("transient" if again else REASONS[reason].kind)


def test_an_exclusive_create_that_is_repeated_knows_its_own_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store takes the object and dies before it answers."""
    held: dict[str, str] = {}

    class Store:
        def put_object(self, **request: Any) -> None:
            if held:
                raise answered(412, "PreconditionFailed")
            held.update(request["Metadata"])
            raise EndpointConnectionError(endpoint_url="http://s3")

        def head_object(self, **request: str) -> dict[str, Any]:
            return {"Metadata": held}

    store = Store()
    monkeypatch.setattr(s3, "_client", lambda: store)
    assert storage.Store(NIGHTLY).create("s3://bucket/claim", b"mine")


# One clip


@pytest.fixture
def work(tmp_path: Path) -> Run:
    clips = [ManifestClip(f"c{n}", f"{tmp_path}/c{n}.mkv") for n in range(15)]
    return Run.open("m.csv", clips, str(tmp_path / "out"), Recipe(), quiet, NIGHTLY)


def guard(work: Run, step: Callable[[], str]) -> str | ClipEnded | ClipLeft:
    return guarded(ManifestClip("c0", "c0.mkv"), work.settings, step)


def test_a_full_work_folder_is_waited_for(work: Run, clock: list[float]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/ar-shard-x")
    assert guard(work, failing(full, full, None)) == "done"
    assert len(clock) == 2
    assert guard(work, failing(full)) == ClipEnded("c0")
    result = work.settings.ledger.result("c0")
    assert (result.state, result.reason) == ("failed", Reason.DISK_FULL)
    assert "/tmp/ar-shard-x" in result.sentence
    assert 200 < sum(clock) < 600


def test_a_broken_clip_is_not_tried_again(work: Run, clock: list[float]) -> None:
    guard(work, failing(ClipFault(Reason.DECODE_CRC, "slice CRC mismatch"), None))
    assert work.settings.ledger.result("c0").reason is Reason.DECODE_CRC
    assert clock == []


def test_an_end_that_cannot_be_written_leaves_the_clip_and_ends_the_run(
    work: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(*_: object) -> bool:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(work.settings.ledger, "commit_clip", dead)
    with caplog.at_level(logging.ERROR, stages.__name__):
        left = guard(work, failing(ClipFault(Reason.TRUNCATED, "12 of 50 frames")))
    assert left == ClipLeft("c0", Reason.SYSTEM_STOP, "STORE_ERROR: connection refused")
    assert "12 of 50 frames" in caplog.text
    with pytest.raises(ArchiveError, match="broke off: STORE_ERROR: connection refused") as caught:
        work.take(left)
    assert caught.value.exit_code == 1


def test_a_clip_whose_retries_are_exhausted_is_written_without_more_waiting(
    work: Run, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    def dead(*_: object) -> bool:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(local, "create", dead)
    left = guard(work, failing(ClipFault(Reason.STORE_ERROR, "connection refused")))
    assert isinstance(left, ClipLeft)
    assert 200 < sum(clock) < 300


# The breaker


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
def test_whatever_else_happens_starts_the_count_again(between: Reason | None) -> None:
    breaker = Breaker(3)
    assert not any(saw(breaker, *[Reason.STORE_ERROR] * 2, between, *[Reason.STORE_ERROR] * 2))


@pytest.mark.parametrize("reason", list(Reason))
def test_only_what_speaks_of_the_system_trips_it(reason: Reason) -> None:
    assert any(saw(Breaker(3), reason, reason, reason)) == (REASONS[reason].kind != "clip")


def test_a_run_whose_system_fails_stops_and_blames_no_clip(work: Run) -> None:
    settings = work.settings
    survey = SurveyStage(settings)
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


def test_a_failure_of_the_system_in_a_few_clips_is_theirs(work: Run) -> None:
    for n, clip in enumerate(work.todo):
        fault = ClipFault(Reason.INTERNAL if n % 2 else Reason.NOT_FOUND, "x")
        end(work, failed(clip, fault, work.settings))
    summary = work.close()
    assert (summary["exit_code"], summary["left"]) == (3, 0)
    assert "stopped" not in summary


# A night with nothing to do

IDLE = """
import sys
import psutil
from pipeline import flow
from schemas.recipe import Recipe
summary = flow.run(sys.argv[1], sys.argv[2], Recipe(), progress=lambda event: None)
assert summary["clips"]["up_to_date"] == 1 and summary["exit_code"] == 0, summary
assert psutil.Process().children() == [], psutil.Process().children()
assert not {"torch", "cv2", "av"} & set(sys.modules), sorted(sys.modules)
"""


def test_a_night_with_nothing_to_do_starts_no_ray_and_loads_no_model(tmp_path: Path) -> None:
    source = tmp_path / "in" / "clip.mkv"
    source.parent.mkdir()
    write_clip(source, Clip(frames=2))
    Studio(tmp_path / "out", Recipe()).publish(source)
    (tmp_path / "m.csv").write_text(f"clip_id,source_uri\nclip,{source}\n")
    command = [sys.executable, "-c", IDLE, str(tmp_path / "m.csv"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = query(str(tmp_path / "out"), "SELECT state FROM clips").to_pylist()
    assert found == [{"state": "up_to_date"}]
