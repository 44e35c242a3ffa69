"""A graceful stop: no new work starts, finished work is kept, the next session does the rest.

The stages run in this process, without Ray.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.console.query import query
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone
from pipeline.local import ThisProcess
from pipeline.runs import ledger as ledgers
from pipeline.runs import stop as stopping
from pipeline.runs.ledger import Ledger
from pipeline.runs.results import failed
from pipeline.runs.run import Run
from pipeline.runs.stop import Stop
from pipeline.sources.manifest import read_manifest
from pipeline.stages import AssembleStage, Restorers, RestoreStage, SurveyStage
from pipeline.store import storage
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.results import end, made, quiet

pytest_plugins = ("tests.support.environment.s3",)

RECIPE = Recipe(shard_frames=6, strength=0.5)
NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)


# The time of a stop


def test_a_run_stops_at_its_deadline() -> None:
    times = [NOW - timedelta(seconds=1), NOW]
    stop = Stop(NOW, clock=lambda: times.pop(0))
    assert stop.reason() is None
    assert stop.reason() is Reason.DEADLINE_STOP
    assert Stop().reason() is None


def test_cancelling_counts_before_the_deadline() -> None:
    stop = Stop(NOW, clock=lambda: NOW)
    stop.cancel()
    assert stop.reason() is Reason.CANCELLED


def test_workers_see_only_the_stop_of_their_session(
    store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "STOP_SECONDS", 0.0)
    ledger = Ledger.open_or_resume(store_root, {"manifest": "m"})
    worker = Ledger(*ledger.__reduce__()[1])
    assert worker.stopped() is None
    notes: list[str] = []
    with Stop(NOW, clock=lambda: NOW).passed_on(ledger, lambda e: notes.append(e.sentence)):
        assert worker.stopped() is Reason.DEADLINE_STOP
    assert notes == ["The deadline is reached. Work in progress is finished."]
    ledger.stop(Reason.CANCELLED)
    assert Ledger(*ledger.__reduce__()[1]).stopped() is Reason.DEADLINE_STOP  # the first counts
    assert Ledger.open_or_resume(store_root, {"manifest": "m"}).stopped() is None


def test_a_worker_asks_for_a_stop_once_a_second(tmp_path: Path) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), {"manifest": "m"})
    worker = Ledger(*ledger.__reduce__()[1])
    assert worker.stopped() is None
    ledger.stop(Reason.CANCELLED)
    assert worker.stopped() is None  # not asked again yet
    worker._looked -= ledgers.STOP_SECONDS
    assert worker.stopped() is Reason.CANCELLED


def test_a_later_stop_is_passed_on_after_faults_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.001)
    ledger = Ledger.open_or_resume(str(tmp_path), {"manifest": "m"})
    noted, faults = threading.Event(), [ArchiveError("503"), ArchiveError("503")]
    write = ledger.stop

    def failing_write(reason: Reason) -> None:
        if faults:
            raise faults.pop()
        write(reason)

    monkeypatch.setattr(ledger, "stop", failing_write)
    stop = Stop()
    with stop.passed_on(ledger, lambda event: noted.set()):
        assert ledger.stopped() is None
        stop.cancel()
        assert noted.wait(60)
    assert ledger.stopped() is Reason.CANCELLED


# The work of a stopped run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two clips of two shards each."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "a.mkv", Clip(frames=12, width=96, height=64))
    path = folder / "manifest.csv"
    path.write_text("clip_id,source_uri\na,a.mkv\nb,a.mkv\n")
    return str(path)


def open_run(manifest: str, out: str, recipe: Recipe = RECIPE) -> Run:
    return Run.open(manifest, read_manifest(manifest), out, recipe, quiet)


def drive(work: Run, before_shard: Callable[[int], None] = lambda n: None) -> list[type[Item]]:
    """Take every clip of a run through every stage. Return the classes of the last values."""
    survey, assembly = (
        SurveyStage(work.settings, ThisProcess()),
        AssembleStage(work.settings, ThisProcess()),
    )
    restoration = RestoreStage(work.settings, ThisProcess(), Restorers(1))
    shards = [shard for clip in work.todo for shard in survey(clip)]
    kinds = []
    for number, shard in enumerate(shards):
        before_shard(number)
        item = assembly(restoration(shard))
        work.take(item)
        kinds.append(type(item))
    return kinds


def waiting(work: Run) -> list[str]:
    return [clip.clip_id for clip in work._waiting()]


def segments(out: str) -> dict[str, bytes]:
    found = [u for u in storage.listing(f"{out}/runs") if "/segments/" in u and ".json" in u]
    return storage.read_many(found)


@pytest.mark.slow
def test_a_stopped_run_keeps_its_work_and_is_resumed(manifest: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = open_run(manifest, out)

    def stop_in_the_second_clip(number: int) -> None:
        if number == 3:
            first.settings.ledger.stop(Reason.DEADLINE_STOP)

    kinds = drive(first, stop_in_the_second_clip)
    assert kinds == [ShardDone, ClipEnded, ShardDone, ClipLeft]
    summary = first.close()
    assert (summary["exit_code"], summary["left"]) == (5, 1)
    assert made(summary) == 1 and summary["clips"]["held"] == 1
    assert summary["clips"]["failed"] == 0 and sum(summary["clips"].values()) == 2
    table = query(out, "SELECT clip_id, reason FROM clips ORDER BY clip_id").to_pylist()
    assert [tuple(row.values()) for row in table] == [("a", None), ("b", "DEADLINE_STOP")]
    assert first.settings.ledger.summary() is None  # unfinished
    assert set(first.settings.ledger.done()) == {"a"}  # a clip that is left is not committed
    kept = segments(out)
    assert len([uri for uri in kept if "/b/" in uri]) == 1

    second = open_run(manifest, out)
    assert second.settings.ledger.run == first.settings.ledger.run
    assert [clip.clip_id for clip in second.todo] == ["b"]
    drive(second)
    summary = second.close()
    assert (summary["exit_code"], summary["left"]) == (0, 0)
    assert made(summary) == 2
    assert {uri: data for uri, data in segments(out).items() if uri in kept} == kept
    assert query(out, "SELECT count(*) AS n FROM clips WHERE reason IS NULL").to_pylist() == [
        {"n": 2}
    ]


def test_a_run_that_is_stopped_first_starts_no_work(manifest: str, tmp_path: Path) -> None:
    work = open_run(manifest, str(tmp_path / "out"))
    work.settings.ledger.stop(Reason.CANCELLED)
    assert drive(work) == [ClipLeft, ClipLeft]
    summary = work.close()
    assert (summary["exit_code"], summary["left"]) == (143, 2)
    assert not storage.exists(f"{work.settings.ledger.uri}/survey/a.json")


def test_a_stop_does_not_hide_a_lost_clip(manifest: str, tmp_path: Path) -> None:
    work = open_run(manifest, str(tmp_path / "out"))
    work.settings.ledger.stop(Reason.DEADLINE_STOP)
    work.take(ClipLeft("a", Reason.DEADLINE_STOP))
    summary: dict[str, Any] = work.close()
    assert summary["left"] == 1
    assert summary["clips"]["held"] == 1 and summary["clips"]["failed"] == 1
    assert work.settings.ledger.result("b").reason is Reason.INTERNAL


def test_a_clip_published_on_a_node_that_is_then_lost_is_published(
    manifest: str, tmp_path: Path
) -> None:
    """Its row is lost with the node. Ray repeats the stages, which find the finished work."""
    work = open_run(manifest, str(tmp_path / "out"), Recipe(shard_frames=6, strength=0))
    restoration = RestoreStage(work.settings, ThisProcess(), Restorers(1))
    assembly = AssembleStage(work.settings, ThisProcess())
    shards = SurveyStage(work.settings, ThisProcess())(work.todo[0])
    ends = [assembly(restoration(shard)) for shard in shards]
    assert [type(item) for item in ends] == [ShardDone, ClipEnded]
    for item in (ends[0], assembly(restoration(shards[1]))):
        work.take(item)
    assert "a" in waiting(work)
    work.take(ClipLeft("b", Reason.CANCELLED))
    summary = work.close()
    assert (made(summary), summary["clips"]["failed"]) == (1, 0)


def test_a_stop_does_not_hide_a_failure(manifest: str, tmp_path: Path) -> None:
    """A clip with one shard that was left may have failed in another shard."""
    work = open_run(manifest, str(tmp_path / "out"))
    work.take(ClipLeft("a", Reason.DEADLINE_STOP))
    fault = ClipFault(Reason.MODEL_NAN, "not numbers")
    end(work, failed(work._clips["a"], fault, work.settings))
    assert work._ended["a"].reason is Reason.MODEL_NAN
    assert "a" not in waiting(work)
