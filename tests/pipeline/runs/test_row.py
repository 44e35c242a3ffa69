"""Rows: every value comes back from its row, and a row with a wrong type is refused."""

from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult, ShotRow
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone, ShardTask
from pipeline.local import LocalExecutor
from pipeline.runs import row
from pipeline.runs.row import (
    ClipOnRows,
    OnRows,
    from_row,
    result_from_record,
    result_to_record,
    segment_from_record,
    segment_to_record,
    to_row,
)
from pipeline.runs.run import Run
from schemas.manifest import COLUMNS as MANIFEST
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.tables import FLOW, check, schema
from tests.support.media.media_factory import Clip as Media
from tests.support.media.media_factory import write_clip
from tests.support.results import a_result, a_segment, quiet

CLIP = Clip(
    "reel-1", "s3://films/reel-1.mkv", checksum="ab", checksum_algo="md5", collection="news",
    priority=-3, embargo_until="2026-12-31", fill="5-6", leave="0-3", notes="torn",
)  # fmt: skip
TASK = ShardTask(CLIP, shard=1, frames=24, shards=3, clip_frames=70)
FIGURES = {
    "seconds_decode": 0.5, "seconds_model": 2.0, "seconds_encode": 0.25, "seconds_cpu": 2.5,
    "seconds_gpu": 0.0, "retries": 1,
}  # fmt: skip
ITEMS: dict[str, Item] = {
    "clip": CLIP,
    "task": TASK,
    "done": ShardDone(TASK, "restored", FIGURES),
    "ended": ClipEnded("reel-1"),
    "left": ClipLeft("reel-1", Reason.DEADLINE_STOP, "the store refused"),
}


@pytest.mark.parametrize("kind", ITEMS)
def test_every_value_comes_back_from_its_row(kind: str) -> None:
    made = to_row(ITEMS[kind])
    assert made["kind"] == kind
    assert list(made) == list(FLOW)
    assert from_row(made) == ITEMS[kind]
    table = pa.Table.from_pylist([made], schema("flow"))
    assert check("flow", table) is table


def test_a_shard_without_figures_comes_back_without_figures() -> None:
    resumed = ShardDone(TASK, "resumed", {})
    assert from_row(to_row(resumed)) == resumed


def test_every_kind_of_row_is_tested() -> None:
    assert set(ITEMS) == set(FLOW["kind"].values or ())


def test_a_clip_has_the_columns_of_the_manifest() -> None:
    assert [field.name for field in fields(Clip)] == list(MANIFEST)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(CLIP, priority="high"),  # type: ignore[arg-type]
        replace(CLIP, notes=7),  # type: ignore[arg-type]
        replace(TASK, frames="many"),  # type: ignore[arg-type]
        ShardDone(TASK, "restored", {**FIGURES, "seconds_model": "long"}),  # type: ignore[dict-item]
    ],
)
def test_a_wrong_type_is_refused(wrong: Item) -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        to_row(wrong)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="flow: no column colour"):
        to_row(ShardDone(TASK, "restored", {**FIGURES, "colour": 1.0}))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of row: 'frame'"):
        from_row(to_row(CLIP) | {"kind": "frame"})


def test_stages_run_on_rows() -> None:
    survey = ClipOnRows(lambda clip: [replace(TASK, clip=clip), ClipEnded(clip.clip_id)])
    rows = survey(to_row(CLIP))
    assert [from_row(found) for found in rows] == [TASK, ClipEnded("reel-1")]
    assert OnRows(lambda item: item)(rows[0]) == rows[0]


def test_a_segment_record_comes_back() -> None:
    segment = a_segment(3, retries=2)
    record = row.load(row.dump(segment_to_record(segment)))
    assert segment_from_record(record | {"a_later_field": 1}) == segment
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        segment_to_record(replace(segment, seconds_cpu="long"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "result",
    [
        a_result(state="failed", reason="DISK_FULL", sentence="/tmp is full"),
        ClipResult(
            {"clip_id": "a", "run": "r", "state": "published", "frames": 10},
            (ShotRow("a", 0, 0, 10, 10, 1001, True, None),),
            "s3://films/series/a.json",
        ),
    ],
)
def test_a_result_comes_back(result: ClipResult) -> None:
    assert result_from_record(row.load(row.dump(result_to_record(result)))) == result


def test_the_rows_of_a_run_pass_pandera(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", Media(frames=12, width=96, height=64))
    clips = [Clip("a", str(tmp_path / "a.mkv")), Clip("b", str(tmp_path / "missing.mkv"))]
    recipe = Recipe(shard_frames=6)
    work = Run.open("m.csv", clips, str(tmp_path / "out"), recipe, quiet)
    items = list(LocalExecutor().items(work))
    assert [type(item) for item in items] == [ShardDone, ClipEnded, ClipEnded]
    flow = pa.Table.from_pylist([to_row(item) for item in [*clips, *items]], schema("flow"))
    check("flow", flow)
    segments = [segment_to_record(s) for s in work.settings.ledger.segments("a").values()]
    assert len(segments) == 2
    check("segments", pa.Table.from_pylist(segments, schema("segments")))
