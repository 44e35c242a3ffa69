"""Tables: checks of their rows, their files, and a second writing."""

import errno
import importlib
import io
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.detect.measure import ClipMeasure, metric_columns
from pipeline.runs import tables
from pipeline.runs.row import segment_to_record
from pipeline.store import storage
from schemas.columns import arrow_schema
from schemas.docs import tables_markdown
from schemas.errors import ClipFault
from schemas.tables import CLIPS, FRAMES, PUBLISHED, SEGMENTS, STATES, TABLES, check, schema
from tests.support.results import a_segment

pytest_plugins = ("tests.support.environment.s3",)

RUN, DAY = "20261122T010203-abcdef", "2026-11-22"
OTHER_RUN = "20261123T010203-abcdef"
Row = dict[str, object]

PUBLISHED_CLIP: Row = {
    "clip_id": "b",
    "state": "published",
    "source_uri": "s3://films/b.mkv",
    "frames": 10,
    "fps_num": 24000,
    "fps_den": 1001,
    "psnr_to_source_db": 41.5,
}
FAILED_CLIP: Row = {
    "clip_id": "a",
    "state": "quarantined",
    "reason": "TRUNCATED",
    "sentence": "20 of 50 frames",
    "source_uri": "s3://films/a.mkv",
}
RUN_ROW: Row = {"run": RUN, "started": "2026-11-22T01:02:03.123+00:00", "clips": 2, "published": 1}


def frame_rows(count: int) -> Iterator[Row]:
    return ({"clip_id": "b", "frame": i, "shot": 0, "blur_before": 0.5} for i in range(count))


def region_rows(run: str = RUN, count: int = 4) -> pa.Table:
    box = {"x": 1, "y": 2, "width": 9, "height": 8, "area": 50, "bright": True, "change": 40.5}
    row = {"clip_id": "b", "run": run, "shot": 0, "decision": "suspect", "why": "path"} | box
    return pa.Table.from_pylist([row | {"frame": n} for n in range(count)], schema("regions"))


FINDING: Row = {
    "clip_id": "b", "rule": "region_changed", "verdict": "fail", "measure": "largest_change",
    "number": 0.1, "rule_limit": 0.01, "frame": 3, "box": "1,2,3,4", "frames": 1, "sentence": "Why."
}  # fmt: skip
REVIEW: Row = {
    "clip_id": "b", "restored_by": RUN, "decision": "accept", "by": "A. Curator", "verdict": "fail",
    "at": f"{DAY}T01:02:03+00:00", "output_sha256": "0" * 64,
}  # fmt: skip


def write(out: str, frames: int = 10) -> None:
    clips = [PUBLISHED_CLIP, FAILED_CLIP]
    shots = [{"clip_id": "b", "shot": 0, "start": 0, "stop": 10, "flickers": True}]
    tables.write_tables(
        out,
        RUN,
        DAY,
        clips,
        shots,
        frame_rows(frames),
        RUN_ROW,
        regions=[region_rows()],
    )


def content(out: str) -> dict[str, bytes]:
    return {uri.removeprefix(out): storage.read_bytes(uri) for uri in storage.listing(out)}


def test_tables_written_twice_are_the_same(store_root: str) -> None:
    write(store_root)
    first = content(store_root)
    assert list(first) == [
        f"/tables/{name}/run_date={DAY}/{RUN}/part-0.parquet"
        for name in sorted(PUBLISHED.keys() - {"reviews"})  # a person writes these
    ]
    write(store_root)
    assert content(store_root) == first


def test_a_failed_clip_has_a_reason_and_no_measures(tmp_path: Path) -> None:
    write(str(tmp_path))
    table = pq.ParquetFile(next(tmp_path.glob("tables/clips/**/*.parquet"))).read()
    assert table.schema.names == list(CLIPS)
    failed, published = table.to_pylist()
    assert (failed["clip_id"], failed["reason"], failed["run"]) == ("a", "TRUNCATED", RUN)
    assert failed["psnr_to_source_db"] is None
    assert (published["reason"], published["psnr_to_source_db"]) == (None, 41.5)
    field = table.schema.field("psnr_to_source_db")
    assert field.metadata[b"unit"] == b"dB"


def test_frames_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 4)
    write(str(tmp_path), frames=10)
    folder = tmp_path / "tables" / "frames" / f"run_date={DAY}" / RUN
    rows = [pq.ParquetFile(path).metadata.num_rows for path in sorted(folder.iterdir())]
    assert rows == [4, 4, 2]
    write(str(tmp_path), frames=3)
    assert [path.name for path in folder.iterdir()] == ["part-0.parquet"]


def test_regions_of_many_clips_come_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 7)
    regions = (region_rows() for _ in range(3))
    tables.write_tables(str(tmp_path), RUN, DAY, [], [], [], RUN_ROW, regions=regions)
    folder = tmp_path / "tables" / "regions" / f"run_date={DAY}" / RUN
    rows = [pq.ParquetFile(path).metadata.num_rows for path in sorted(folder.iterdir())]
    assert rows == [8, 4]


def test_a_wrong_region_is_refused(tmp_path: Path) -> None:
    wrong = region_rows().to_pylist()[0] | {"why": "dislike"}
    regions = [pa.Table.from_pylist([wrong], schema("regions"))]
    with pytest.raises(ValueError, match="dislike"):
        tables.write_tables(str(tmp_path), RUN, DAY, [], [], [], RUN_ROW, regions=regions)


def test_rows_in_the_former_place_are_not_counted_twice(tmp_path: Path) -> None:
    write(str(tmp_path))
    day = tmp_path / "tables" / "frames" / f"run_date={DAY}"
    for run in (RUN, OTHER_RUN):
        (day / f"run={run}").mkdir()
        shutil.copy(day / RUN / "part-0.parquet", day / f"run={run}")
    write(str(tmp_path))
    parts = [path.relative_to(day).as_posix() for path in day.rglob("*.parquet")]
    assert sorted(parts) == [f"{RUN}/part-0.parquet", f"run={OTHER_RUN}/part-0.parquet"]


def test_numbers_of_every_kind_are_stored(tmp_path: Path) -> None:
    row = PUBLISHED_CLIP | {
        "frames": np.int64(3),
        "blur_before": np.float32(0.5),
        "blur_after": math.nan,
        "psnr_to_source_db": math.inf,
        "ssim_to_source": 1,
    }
    (stored,) = tables.to_table("clips", [row], RUN).to_pylist()
    assert (stored["frames"], stored["blur_before"], stored["ssim_to_source"]) == (3, 0.5, 1.0)
    assert stored["blur_after"] is None
    assert stored["psnr_to_source_db"] is None


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"state": "lost"}, "state"),
        ({"state": None}, "state"),
        ({"clip_id": "a/b"}, "clip_id"),
        ({"reason": "BAD_LUCK"}, "reason"),
        ({"reason": "TRUNCATED"}, "published with the reason"),
        ({"state": "failed"}, "failed with the reason None"),
        ({"frames": -1}, "frames"),
        ({"frames": "ten"}, "frames"),
        ({"frames": 1.5}, "frames"),
        ({"frames": True}, "frames"),
        ({"source_sha256": "abc"}, "source_sha256"),
        ({"seconds_model": -0.1}, "seconds_model"),
        ({"colour": "red"}, "colour"),
        ({"source_uri": None}, "source_uri"),
    ],
)
def test_a_wrong_row_is_refused(change: Row, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        tables.to_table("clips", [PUBLISHED_CLIP | change], RUN)


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb"])
def test_every_table_is_read_as_documented(tmp_path: Path, library: str) -> None:
    """The page has one line of Python for each library."""
    nights = two_nights(str(tmp_path))
    module = importlib.import_module(library)
    for name, count in nights.items():
        found = eval(documented(library, tmp_path, name), {library: module})
        assert len(found) == count
        assert list(found.columns) == [*PUBLISHED[name], "run_date"]
        assert sorted(set(values(found, "run"))) == sorted({RUN, OTHER_RUN}) if count > 1 else [RUN]
        assert {str(day)[:10] for day in values(found, "run_date")} <= {DAY, "2026-11-23"}


def test_spark_reads_every_table_as_documented(tmp_path: Path) -> None:
    """It needs Java as well, so it is not among the packages for tests."""
    sql = pytest.importorskip("pyspark.sql")
    nights = two_nights(str(tmp_path))
    build = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    build = build.config("spark.sql.shuffle.partitions", "1")
    with build.config("spark.sql.session.timeZone", "UTC").getOrCreate() as spark:
        for name, count in nights.items():
            found = eval(documented("spark", tmp_path, name), {"spark": spark})
            assert found.columns == [*PUBLISHED[name], "run_date"]
            rows = found.collect()
            assert len(rows) == count
            assert {str(row.run_date) for row in rows} <= {DAY, "2026-11-23"}
            if name == "runs":
                times = {row.started.isoformat() for row in rows}
                assert times == {"2026-11-22T01:02:03.123000"}


def two_nights(out: str) -> dict[str, int]:
    """Write every table in two runs. Returns their rows."""
    write(out)
    tables.write_tables(
        out, OTHER_RUN, "2026-11-23", [PUBLISHED_CLIP], [], frame_rows(3),
        RUN_ROW | {"run": OTHER_RUN, "clips": 1}, regions=[region_rows(OTHER_RUN)],
        findings=[FINDING],
    )  # fmt: skip
    for run in (RUN, OTHER_RUN):
        tables.write_review(out, REVIEW | {"run": run})
    rows = {"runs": 2, "clips": 3, "shots": 1, "frames": 13, "regions": 8, "findings": 1}
    return rows | {"reviews": 2}


def review_of(n: int, day: str = "2026-11-24") -> Row:
    run = f"{day.replace('-', '')}T010203-{n:06x}"
    return REVIEW | {"clip_id": f"c{n}", "run": run, "at": f"{day}T01:02:03+00:00"}


def reviews_in(out: str) -> dict[str, list[str]]:
    """The clips in each file of tables/reviews, by the end of its address."""
    uris = sorted(storage.listing(f"{out}/tables/reviews"))
    return {
        uri.split("/reviews/")[1]: pq.read_table(io.BytesIO(storage.read_bytes(uri)))[
            "clip_id"
        ].to_pylist()
        for uri in uris
    }


def test_reviews_of_a_day_are_in_few_files(
    store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full part is left as it is. A row that is written again is there once."""
    monkeypatch.setattr(tables, "DAY_ROWS", 2)
    for n in (1, 2, 2, 3, 4, 4, 5, 5):
        tables.write_review(store_root, review_of(n))
    tables.write_review(store_root, review_of(6, "2026-11-25"))
    assert reviews_in(store_root) == {
        "run_date=2026-11-24/day/part-0.parquet": ["c1", "c2"],
        "run_date=2026-11-24/day/part-1.parquet": ["c3", "c4"],
        "run_date=2026-11-24/day/part-2.parquet": ["c5"],
        "run_date=2026-11-25/day/part-0.parquet": ["c6"],
    }
    assert tables.reviews_written(store_root, {"000005", "000006", "0000aa"}) == {
        ("c5", "000005"), ("c6", "000006")
    }  # fmt: skip


def test_rows_of_reverts_are_in_the_files_of_their_day(tmp_path: Path) -> None:
    """Those of a clip's frames and regions are not. What is written again is there once."""
    out, shots = (
        str(tmp_path),
        [{"clip_id": "b", "shot": n, "start": n, "stop": n + 1} for n in (0, 1)],
    )
    runs = [f"20261124T01020{n}-abcdef" for n in range(3)]
    for run in (runs[0], runs[1], runs[1], runs[2]):
        row = RUN_ROW | {"run": run, "kind": "revert"}
        tables.write_replacement(
            out, run, date(2026, 11, 24), PUBLISHED_CLIP, shots, frame_rows(3), row,
            regions=[region_rows(run)], findings=[FINDING] if run == runs[0] else [],
        )  # fmt: skip
    found = {name: pq.read_table(tmp_path / "tables" / name) for name in ("clips", "runs", "shots")}
    assert found["clips"]["run"].to_pylist() == found["runs"]["run"].to_pylist() == runs
    assert len(found["shots"]) == 6 and len(found["clips"].column_names) == len(CLIPS) + 1
    files = [uri.split("/")[-4:] for uri in storage.listing(f"{out}/tables")]
    assert Counter((name, folder == "day") for name, _, folder, _ in files) == Counter(
        {(name, True): 1 for name in ("clips", "runs", "shots", "findings")}
        | {(name, False): 3 for name in ("frames", "regions")}
    )


def test_reviews_of_an_older_code_count_once(tmp_path: Path) -> None:
    """It wrote each into a file of its own, and had no column `region` at first."""
    out, old, less = str(tmp_path), review_of(1), review_of(2)
    for row, folder in ((old, str(old["run"])), (less, "day")):
        place = tmp_path / "tables" / "reviews" / "run_date=2026-11-24" / folder
        place.mkdir(parents=True)
        table = tables.to_table("reviews", [row], str(row["run"]))
        pq.write_table(table.drop_columns(["region"]), place / "part-0.parquet")
    for row in (old, less, review_of(3)):
        tables.write_review(out, row)
    assert list(reviews_in(out).values()) == [["c1"], ["c2", "c3"]]
    both = pq.read_table(tmp_path / "tables/reviews/run_date=2026-11-24/day/part-0.parquet")
    assert both.schema.equals(schema("reviews"))
    assert tables.reviews_written(out, {"000001", "000003"}) == {("c1", "000001"), ("c3", "000003")}


def test_a_review_that_cannot_be_written_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path)
    tables.write_review(out, review_of(1))

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as broken:
        broken.setattr("os.replace", full)
        with pytest.raises((OSError, ClipFault)):
            tables.write_review(out, review_of(2))
    assert list(reviews_in(out).values()) == [["c1"]]
    tables.write_review(out, review_of(2))
    assert list(reviews_in(out).values()) == [["c1", "c2"]]


def documented(library: str, folder: Path, table: str) -> str:
    """The line of the page for a library, with the path of a table below a folder."""
    (line,) = re.findall(rf"^{library}\..*$", tables_markdown(), re.MULTILINE)
    return str(line.replace("restored/tables/clips", f"{folder}/tables/{table}"))


def values(found: Any, column: str) -> list[Any]:
    """A column of a table of any library."""
    if hasattr(found, "fetchall"):
        return [row[0] for row in found.project(column).fetchall()]
    return list(found[column])


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_passes_its_check(name: str) -> None:
    table = schema(name).empty_table()
    assert check(name, table).schema.equals(arrow_schema(TABLES[name]))


def test_segments_are_checked() -> None:
    record = segment_to_record(a_segment())
    names = list(SEGMENTS)
    table = pa.table({n: pa.array([record[n]], SEGMENTS[n].type) for n in names})
    assert check("segments", table) is table
    with pytest.raises(ValueError, match="shard"):
        check("segments", table.set_column(names.index("shard"), "shard", pa.array([-1])))


def test_every_measurement_has_its_column() -> None:
    measured = set(metric_columns())
    assert measured <= set(CLIPS)
    measure = ClipMeasure()
    luma = np.zeros((32, 32), np.float32)
    measure.add(luma, luma, luma)
    (row,) = measure.frames()
    assert set(row) <= set(FRAMES)
    tables.to_table("frames", [{"clip_id": "a", **row}], RUN)
    tables.to_table("clips", [PUBLISHED_CLIP | measure.summary()], RUN)


def test_every_state_has_a_column_in_runs() -> None:
    assert set(STATES) <= set(PUBLISHED["runs"])
