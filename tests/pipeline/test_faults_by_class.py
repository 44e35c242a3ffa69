"""What a fault's class decides: waited out and tried again, never tried again, or the run's end."""

import errno
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from jobs.console.query import query
from pipeline import stages
from pipeline.runs.breaker import IN_A_ROW, Breaker
from pipeline.runs.run import Row, Run, failed
from pipeline.stages import SurveyStage, guarded
from pipeline.store import retry, storage
from pipeline.store.retry import outlast, pauses
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from tests.pipeline.runs.test_stop import quiet
from tests.support.media_factory import Clip, write_clip
from tests.support.studio import Studio

TRANSIENT = {Reason.STORE_THROTTLED, Reason.STORE_ERROR, Reason.DISK_FULL}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The pauses that were made, at no time; patience is that of a run."""
    slept: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    monkeypatch.setattr(retry.time, "monotonic", lambda: sum(slept))
    monkeypatch.setenv(retry.VARIABLE, retry.RUN_SECONDS)
    retry._patience.worn_out = False
    yield slept
    retry._patience.worn_out = False


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
        assert outlast(step) == "done"
        assert len(clock) == 2
    else:
        with pytest.raises(ClipFault):
            outlast(step)
        assert clock == []


def test_patience_has_an_end_and_is_not_spent_twice(clock: list[float]) -> None:
    step = failing(ClipFault(Reason.STORE_ERROR, "503"))
    with pytest.raises(ClipFault):
        outlast(lambda: outlast(step))  # as a step of a clip that calls the storage
    assert 200 < sum(clock) < 300
    clock.clear()
    with pytest.raises(ClipFault):
        outlast(step)  # the store is down: whoever comes next does not wait for it again
    assert clock == []
    assert outlast(failing(None)) == "done"
    assert outlast(failing(ClipFault(Reason.STORE_ERROR, "503"), None)) == "done"
    assert len(clock) == 1


def test_a_command_outside_a_run_does_not_wait(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(retry.VARIABLE)
    with pytest.raises(ClipFault):
        outlast(failing(ClipFault(Reason.STORE_ERROR, "503"), None))
    assert clock == []
    with retry.of_a_run():
        assert outlast(failing(ClipFault(Reason.STORE_ERROR, "503"), None)) == "done"


def test_pauses_double_up_to_a_limit_and_differ() -> None:
    first, second = ([p for p, _ in zip(pauses(), range(12), strict=False)] for _ in range(2))
    assert first != second
    longest = [min(retry.FIRST_PAUSE * 2**k, retry.LONGEST_PAUSE) for k in range(12)]
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
    monkeypatch.setattr(storage, "_client", lambda: store)
    if again:
        assert storage.stat("s3://bucket/key").size == 5
        assert store.asked == 3 and len(clock) == 2
    else:
        with pytest.raises(ClipFault) as caught:
            storage.stat("s3://bucket/key")
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
    monkeypatch.setattr(storage, "_client", lambda: store)
    assert storage.create("s3://bucket/claim", b"mine")


# One clip


@pytest.fixture
def work(tmp_path: Path) -> Run:
    rows = [{"clip_id": f"c{n}", "source_uri": f"{tmp_path}/c{n}.mkv"} for n in range(15)]
    return Run.open("m.csv", rows, str(tmp_path / "out"), Recipe(), quiet)


def end_of(work: Run, step: Callable[[], Any]) -> Row:
    row = guarded({"clip_id": "c0", "source_uri": "c0.mkv"}, work.settings, step)
    return row | {"body": json.loads(row["body"])} if isinstance(row, dict) else {"body": row}


def test_a_full_work_folder_is_waited_for(work: Run, clock: list[float]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/ar-shard-x")
    assert end_of(work, failing(full, full, None))["body"] == "done"
    assert len(clock) == 2
    row = end_of(work, failing(full))["body"]
    assert (row["state"], row["reason"]) == ("failed", "DISK_FULL")
    assert "/tmp/ar-shard-x" in row["sentence"]
    assert 200 < sum(clock) < 600


def test_a_broken_clip_is_not_tried_again(work: Run, clock: list[float]) -> None:
    step = failing(ClipFault(Reason.DECODE_CRC, "slice CRC mismatch"), None)
    assert end_of(work, step)["body"]["reason"] == "DECODE_CRC"
    assert clock == []


def test_an_end_that_cannot_be_written_down_leaves_the_clip_to_the_next_session(
    work: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(*_: object) -> bool:
        raise ClipFault(Reason.STORE_ERROR, "connection refused")

    monkeypatch.setattr(work.settings.ledger, "commit_clip", dead)
    with caplog.at_level(logging.ERROR, stages.__name__):
        row = end_of(work, failing(ClipFault(Reason.TRUNCATED, "12 of 50 frames")))
    assert (row["kind"], row["body"]) == ("left", {"reason": "SYSTEM_STOP"})
    assert "12 of 50 frames" in caplog.text


# The breaker


def saw(breaker: Breaker, *reasons: Reason | None) -> list[bool]:
    return [breaker.saw(f"c{n}", {"reason": reason}) for n, reason in enumerate(reasons)]


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
    for row in work.todo:
        clip = json.loads(row["body"])

        def denied(clip: Row = clip) -> Row:
            raise ClipFault(Reason.ACCESS_DENIED, f"{clip['source_uri']}: 403")

        stopped = settings.ledger.stopped()
        for end in survey(row) if stopped else [guarded(clip, settings, denied)]:
            work.take(end)
    summary = work.close()
    assert summary["exit_code"] == 1
    assert summary["clips"]["quarantined"] == IN_A_ROW
    assert summary["left"] == summary["clips"]["held"] == 15 - IN_A_ROW
    assert "10 clips in a row failed with ACCESS_DENIED" in summary["stopped"]
    assert settings.ledger.summary() is None
    assert settings.ledger.done() == {}  # the next session tries every clip


def test_a_failure_of_the_system_in_a_few_clips_is_theirs(work: Run) -> None:
    for n, row in enumerate(work.todo):
        clip = json.loads(row["body"])
        fault = ClipFault(Reason.INTERNAL if n % 2 else Reason.NOT_FOUND, "x")
        end = failed(clip, fault, work.settings)
        work.settings.ledger.commit_clip(row["clip_id"], end)
        work.take({"clip_id": row["clip_id"], "kind": "clip", "body": json.dumps(end)})
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
