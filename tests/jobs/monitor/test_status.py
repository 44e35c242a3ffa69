"""Status of a run under way: what each clip does or waits for, how long, where the time goes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.monitor.status import describe_status, read_status
from jobs.monitor.timing import Pace, slowest, stage_seconds, with_time_left
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.result import Cell
from pipeline.runs import lease
from pipeline.runs.ledger import Ledger, WorkerId
from pipeline.shard_progress import ShardProgress
from pipeline.store import storage
from pipeline.survey import survey_clip
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.results import a_result, a_segment

PUBLISHED: dict[str, Cell] = {
    "state": "published", "frames": 100, "width": 1000, "height": 1000, "seconds_decode": 10.0,
    "seconds_model": 50.0, "seconds_encode": 20.0, "seconds_total": 100.0,
}  # fmt: skip
RECIPE = Recipe(shard_frames=8)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Four clips: one published, two surveyed with two shards each, one not begun."""
    source = tmp_path / "in" / "a.mkv"
    source.parent.mkdir()
    write_clip(source, Clip(frames=16, width=96, height=64))
    manifest = tmp_path / "in" / "m.csv"
    rows = [f"{clip},a.mkv" for clip in "abcd"]
    manifest.write_text("\n".join(["clip_id,source_uri", *rows]))
    ledger = Ledger.open_or_resume(str(tmp_path / "out"), {"manifest_uri": str(manifest)})
    storage.write_bytes(f"{ledger.uri}/recipe.toml", RECIPE.to_toml().encode())
    ledger.commit_clip(a_result("a", **PUBLISHED))
    for clip in "bc":
        row = ManifestClip(clip, str(source))
        survey = survey_clip(row, RECIPE, tmp_path / "cache")
        storage.write_bytes(f"{ledger.uri}/survey/{clip}.json", survey.to_json())
    return ledger


def begin(ledger: Ledger, clip: str, shard: int, session: str = "") -> int:
    return ledger.claim_attempt(clip, shard, WorkerId(session or ledger.session, "node", 1))


def finish(ledger: Ledger, clip: str, shard: int) -> None:
    ledger.end_attempt(clip, shard, begin(ledger, clip, shard))
    segment = replace(a_segment(shard), start=8 * shard, stop=8 * shard + 8, seconds_model=4.0)
    ledger.commit_segment(clip, segment)


def clips(ledger: Ledger) -> dict[str, Any]:
    return {clip["clip_id"]: clip for clip in read_status(ledger.out)["at_work"]}


def test_each_clip_says_what_it_does_or_waits_for(ledger: Ledger) -> None:
    assert clips(ledger)["b"]["doing"] == "waits for a free worker"
    begin(ledger, "b", 0, session="00000000")  # of a driver that is gone
    assert clips(ledger)["b"]["doing"] == "waits for a free worker"
    begin(ledger, "b", 0)
    finish(ledger, "c", 0)
    finish(ledger, "c", 1)
    found = clips(ledger)
    assert (found["b"]["doing"], found["b"]["workers"]) == ("being restored", 1)
    assert (found["c"]["doing"], found["c"]["frames_done"]) == ("being joined and verified", 16)


def test_frames_count_while_their_shard_is_restored(ledger: Ledger) -> None:
    """The frames of the shard's worker, and none of a driver that is gone."""
    finish(ledger, "b", 0)
    ShardProgress(ledger, "b", 1, pause=0)(5)
    gone = Ledger(ledger.out, ledger.run, "00000000")
    ShardProgress(gone, "c", 0, pause=0)(7)
    ShardProgress(ledger, "c", 1)(3)  # begun just now: nothing is written yet
    found = clips(ledger)
    assert (found["b"]["frames_done"], found["c"]["frames_done"]) == (8 + 5, 0)
    assert read_status(ledger.out)["frames"] == 100 + 13


def test_a_store_that_fails_ends_the_reports_only(ledger: Ledger) -> None:
    folder = Path(ledger.uri, "progress")
    folder.write_text("a file in the way of the folder")
    progress = ShardProgress(ledger, "b", 0, pause=0)
    progress(1)
    folder.unlink()
    progress(2)
    assert not folder.exists()


def test_the_time_left_and_where_the_time_went(ledger: Ledger) -> None:
    finish(ledger, "b", 0)
    begin(ledger, "b", 1)
    begin(ledger, "c", 0)
    facts = read_status(ledger.out)
    area = 96 * 64 / 1e6
    cost = (50 + 4) / (100 + 8 * area)  # seconds a megapixel; two workers
    b, c = facts["at_work"]
    assert b["eta_seconds"] == pytest.approx(8 * area * cost / 2, abs=0.1)
    assert c["eta_seconds"] == pytest.approx(24 * area * cost / 2, abs=0.1)
    mean = (100 + 2 * 16 * area) / 3  # megapixels of a clip of unknown size
    assert facts["eta_seconds"] == pytest.approx((24 * area + mean) * cost / 2, abs=0.1)
    assert facts["seconds_of"] == {"decode": 11, "model": 54, "encode": 22, "assemble": 20}
    assert [clip["clip_id"] for clip in facts["slowest"]] == ["a"]
    assert facts["clips"] == {"published": 1, "at_work": 2, "waiting": 1}


def test_it_says_whether_anything_works_on_the_run(ledger: Ledger) -> None:
    assert read_status(ledger.out)["activity"] == "stopped: no process works on it"
    with lease.held(ledger.out, "submit") as mine:
        mine.renew(run=ledger.run)
        assert read_status(ledger.out)["activity"] == "under way"
        ledger.stop(Reason.DEADLINE_STOP)
        assert read_status(ledger.out)["activity"] == "draining"
    assert read_status(ledger.out)["activity"] == "stopped: no process works on it"


def test_a_person_reads_the_same(ledger: Ledger) -> None:
    finish(ledger, "b", 0)
    text = describe_status(read_status(ledger.out))
    for words in ("1 published, 2 at work, 1 waiting", "left", "model 50%", "assemble 19%",
                  "waits for a free worker", "slowest clips:"):  # fmt: skip
        assert words in text
    json.dumps(read_status(ledger.out))  # nothing in it that JSON does not know


def test_nothing_is_guessed_before_anything_is_done() -> None:
    clip = {"clip_id": "a", "megapixels_left": 3.0}
    assert with_time_left([clip], Pace()) == [{"clip_id": "a", "eta_seconds": None}]
    assert slowest([]) == [] and set(stage_seconds([], []).values()) == {0}


def test_clips_that_an_earlier_run_restored_tell_nothing_of_this_one() -> None:
    result = a_result("a", **PUBLISHED | {"state": "up_to_date"})
    assert slowest([result]) == [] and set(stage_seconds([result], []).values()) == {0}


def test_the_slowest_come_first_and_are_few() -> None:
    results = [a_result(f"c{n}", **PUBLISHED | {"seconds_total": 100.0 + n}) for n in range(20)]
    found = slowest(results)
    assert [clip["clip_id"] for clip in found] == ["c19", "c18", "c17", "c16", "c15"]
    assert found[0]["seconds_per_frame"] == 1.19
