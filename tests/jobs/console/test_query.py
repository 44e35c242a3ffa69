"""Queries: one SELECT over the tables, on disk and in a store, and nothing else."""

import datetime as dt
import resource
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.console.describe import described
from jobs.console.lake import open_tables
from jobs.console.query import QueryLimits, query
from jobs.console.views import VIEWS, selected
from pipeline.runs.tables import write_review, write_tables
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.tables import PUBLISHED, schema

pytest_plugins = ("tests.support.environment.s3",)

Row = dict[str, object]
FIRST, SECOND = "20261121T010203-abcdef", "20261122T010203-abcdef"


def clip(name: str, state: str, reason: str | None = None, **more: object) -> Row:
    return {"clip_id": name, "state": state, "reason": reason, "source_uri": f"/{name}"} | more


def write_lake(out: str) -> None:
    """Two nights: `a` is restored in the second only, `b` in the first, `c` never, `d` twice."""
    formats = {"codec": "ffv1", "container": "matroska", "pix_fmt": "yuv420p", "frames": 48}
    good = formats | {"width": 720, "height": 576, "fps_num": 24, "fps_den": 1}
    twice = {"collection": "news", "share_changed": 0.2, "seconds_cpu": 1800.0, **good}
    twice |= {"seconds_model": 900.0, "seconds_total": 1800.0, "duration_seconds": 600.0}
    twice |= {"field_order": "progressive", "scan_measured": "tff"}
    old, new = {"recipe_sha256": "1" * 64}, {"recipe_sha256": "2" * 64}
    nights = {
        FIRST: [
            clip("a", "failed", "STORE_ERROR"),
            clip("b", "published", psnr_to_source_db=30.0, largest_repair=4147, **good),
            clip("c", "quarantined", "TRUNCATED", sentence="first"),
            clip("d", "published", psnr_to_source_db=40.0, **twice, **old),
            clip("e", "published", collection="news", **old),
        ],
        SECOND: [
            clip("a", "published", psnr_to_source_db=20.0, largest_repair=20, **good),
            clip("b", "up_to_date", psnr_to_source_db=30.0, **good),
            clip("c", "quarantined", "DECODE_CRC", sentence="second"),
            clip("d", "published", psnr_to_source_db=37.0, **twice, **new),
            clip("e", "failed", "STORE_ERROR", collection="news", **new),
        ],
    }
    for run, clips in nights.items():
        day = f"{run[:4]}-{run[4:6]}-{run[6:8]}"
        run_row: Row = {"run": run, "started": f"{day}T01:02:03+00:00", "clips": len(clips)}
        frames = [
            {"clip_id": "b", "frame": n, "shot": 0, "largest_change": n / 10} for n in range(3)
        ]
        found = [region(run, "a", 20, "repair"), region(run, "a", 30, "suspect")]
        found += [region(run, "b", 25, "repair"), region(run, "b", 40, "suspect")]
        regions = pa.Table.from_pylist(found, schema("regions"))
        write_tables(out, run, day, clips, [], frames, run_row, regions=[regions],
            canaries=[canary("d", 3.0), canary("e", 1.0), canary("b", None)],
        )  # fmt: skip
    write_review(out, review("d", SECOND, "question"))


def review(clip: str, restored_by: str, decision: str, number: int = 0) -> Row:
    facts = {"by": "A. Curator", "note": "a foot", "at": "2026-11-23T01:02:03+00:00"}
    row = {"clip_id": clip, "run": f"20261123T01020{number}-abcdef", "restored_by": restored_by}
    return {**row, "decision": decision, **facts}


def canary(clip: str, gain: float | None) -> Row:
    row: Row = {
        "clip_id": clip, "shot": 0, "start": 0, "preset": "film", "seed": 1, "model": "base",
        "recipe_sha256": "1" * 64,
    }  # fmt: skip
    if gain is None:
        return row | {"fault": "MemoryError: no room"}
    return row | {"psnr_damaged_db": 20.0, "psnr_restored_db": 20 + gain, "harmed": 0.0}


def region(run: str, clip: str, area: int, decision: str) -> Row:
    place = {"shot": 0, "frame": 7, "x": 1, "y": 2, "width": 9, "height": 8}
    found = {"bright": True, "change": 50.0, "decision": decision, "why": "path"}
    return {"clip_id": clip, "run": run, "area": area, **place, **found}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("lake"))
    write_lake(out)
    return out


def test_query_reads_a_store_as_it_reads_a_disk(store_root: str) -> None:
    write_lake(store_root)
    rows = query(store_root, "SELECT clip_id, state FROM latest_clips").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", "published"),
        ("b", "up_to_date"),
        ("c", "quarantined"),
        ("d", "published"),
        ("e", "failed"),
    ]
    assert query(store_root, "FROM frames SELECT count(*) AS n").to_pylist() == [{"n": 6}]


def test_partitions_are_columns(lake: str) -> None:
    sql = f"SELECT DISTINCT run_date, run FROM clips WHERE run = '{SECOND}'"
    assert query(lake, sql).to_pylist() == [{"run_date": dt.date(2026, 11, 22), "run": SECOND}]
    (row,) = query(lake, f"SELECT started FROM runs WHERE run = '{FIRST}'").to_pylist()
    assert row["started"].isoformat() == "2026-11-21T01:02:03+00:00"


def test_canaries_give_the_score_of_each_run(lake: str) -> None:
    rows = query(lake, selected("canary_scores")).to_pylist()
    assert [(r["run"], r["canaries"], r["faults"], r["gain_db"], r["repaired"]) for r in rows] == [
        (SECOND, 3, 1, 2.0, None), (FIRST, 3, 1, 2.0, None),
    ]  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_runs_and_is_described(lake: str, view: str) -> None:
    found = query(lake, selected(view))
    assert len(found) > 0
    assert [row["column"] for row in described(view)] == found.column_names
    assert all(row["meaning"] for row in described(view))


@pytest.mark.parametrize("table", PUBLISHED)
def test_every_table_is_described_with_units(lake: str, table: str) -> None:
    rows = described(table)
    assert [row["column"] for row in rows] == query(lake, f"FROM {table}").column_names
    units = {name: column.unit for name, column in PUBLISHED[table].items()}
    assert {row["column"]: row["unit"] for row in rows} == units | {"run_date": ""}
    assert all(row["meaning"] for row in rows)


def test_a_result_is_cut_after_the_rows_asked_for(lake: str) -> None:
    found = query(lake, "SELECT clip_id FROM latest_clips ORDER BY clip_id DESC", rows=2)
    assert found["clip_id"].to_pylist() == ["e", "d"]


def test_views_say_what_they_promise(lake: str) -> None:
    def rows(sql: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in query(lake, sql).to_pylist()]

    assert rows("SELECT clip_id, psnr_to_source_db FROM worst_clips") == [
        ("a", 20.0), ("b", 30.0), ("d", 37.0)
    ]  # fmt: skip
    assert rows("SELECT clip_id, run, frame FROM worst_frames") == [
        ("b", FIRST, 2),
        ("b", FIRST, 1),
    ]
    assert rows("SELECT reason, state, clips, example FROM quarantine_by_reason") == [
        ("DECODE_CRC", "quarantined", 1, "c"), ("STORE_ERROR", "failed", 1, "e")
    ]  # fmt: skip
    assert rows("SELECT clip_id, later_run, psnr_to_source_change FROM compare_runs") == [
        ("d", SECOND, -3.0)
    ]
    assert rows("SELECT clip_id, run, newest_run FROM stale_recipes") == [("e", FIRST, SECOND)]
    assert rows("SELECT clip_id FROM field_order_disagreements") == [("d",)]
    assert rows("SELECT clip_id FROM touched_pixels_over(0.1)") == [("d",)]
    assert rows("SELECT clip_id FROM touched_pixels_over(0.2)") == []
    costs = "SELECT collection, clips, restorations, cpu_hours FROM cost_by_collection"
    assert rows(costs)[0] == ("news", 2, 3, 1.0)
    priced = "FROM cost_by_model(cpu_hour := 0.5)"
    assert rows(f"SELECT device, busy_share, cpu_hours_per_hour, money_per_hour {priced}") == [
        ("cpu", 0.5, 3.0, 1.5)
    ]
    assert rows("SELECT clip_id, reason FROM quarantine") == [("c", "DECODE_CRC")]
    happened = rows("SELECT run, event, \"by\", note FROM events WHERE clip_id = 'd'")
    assert [row[1:] for row in happened] == [
        ("published", "", ""), ("published", "", ""), ("question", "A. Curator", "a foot")
    ]  # fmt: skip
    assert [row[0] for row in happened][:2] == [FIRST, SECOND]
    assert rows("SELECT clip_id, reason, sentence, runs FROM never_restored") == [
        ("c", "DECODE_CRC", "second", 2)
    ]
    assert rows("SELECT codec, fps, clips, frames FROM format_census") == [
        ("ffv1", 24.0, 2, 96),
        ("ffv1", 24.0, 1, 48),
    ]
    areas = "SELECT clip_id, run, area FROM"
    sizes = "SELECT clip_id, largest_repair, largest_repair_percent FROM review_queue"
    assert rows(sizes)[:3] == [
        ("b", 4147, pytest.approx(1, abs=0.001)),
        ("a", 20, pytest.approx(0.00482, abs=1e-5)),
        ("d", None, None),
    ]
    assert rows(f"{areas} suspects") == [("b", FIRST, 40), ("a", SECOND, 30)]
    assert rows(f"{areas} largest_repairs") == [("b", FIRST, 25), ("a", SECOND, 20)]


def test_the_review_queue_has_what_nobody_decided_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    out, verdicts = str(tmp_path), {
        "bad": "fail", "doubtful": "needs_review", "good": "pass", "same": "untouched",
        "older": None, "accepted": "fail", "again": "fail", "rerun": "fail", "asked": "fail",
        "undecided": "needs_review",
    }  # fmt: skip
    clips = [
        clip(name, "published", verdict=verdict, verdict_sentence=f"Why {name}.")
        for name, verdict in verdicts.items()
    ]
    later = [clip("again", "published", verdict="needs_review")]
    for run, rows in ((FIRST, clips), (SECOND, later)):
        day = f"{run[:4]}-{run[4:6]}-{run[6:8]}"
        write_tables(out, run, day, rows, [], [], {"run": run, "started": day, "clips": 1})
    decided = [
        ("accepted", "question"), ("accepted", "accept"), ("again", "accept"), ("rerun", "rerun"),
        ("asked", "question"), ("undecided", "accept"), ("undecided", "question"),
    ]  # fmt: skip
    for number, (name, decision) in enumerate(decided):
        write_review(out, review(name, FIRST, decision, number))
    write_review(out, review("bad", FIRST, "accept", len(decided)) | {"region": "0.3.1"})
    asked = "SELECT clip_id, verdict_sentence, decision FROM review_queue"
    found = [tuple(row.values()) for row in query(out, asked).to_pylist()]
    assert found[:2] == [("asked", "Why asked.", "question"), ("bad", "Why bad.", None)]
    assert [row[0] for row in found[2:]] == ["again", "doubtful", "undecided", "older"]


def test_a_part_in_a_store_that_is_replaced_while_it_is_read_stays_whole(s3_prefix: str) -> None:
    """The newest file of a day was read in one request; older days and runs are read later."""
    later = {"run": "20261124T010200-abcdef", "at": "2026-11-24T01:02:03+00:00"}
    write_lake(s3_prefix)
    write_review(s3_prefix, review("a", SECOND, "accept") | later)
    with duckdb.connect() as connection:
        open_tables(connection, s3_prefix, ["reviews", "clips"])
        (newest,) = storage.listing(f"{s3_prefix}/tables/reviews/run_date=2026-11-24")
        storage.write_bytes(newest, b"replaced")
        asked = "SELECT clip_id, run_date::VARCHAR FROM reviews ORDER BY ALL"
        found = connection.sql(asked).fetchall()
        assert found == [("a", "2026-11-24"), ("d", "2026-11-23")]
        assert connection.sql("SELECT count(*) FROM clips").fetchall() == [(10,)]


def test_drift_finds_a_planted_shift_and_no_other(tmp_path: Path) -> None:
    """The second night has the first one's values in another order, the third has more noise, and
    its canaries score less."""
    values = [5.0 + (7 * n % 40) / 40 for n in range(40)]
    nights = [values, values[::-1], [value + 0.5 for value in values]]
    for number, noise in enumerate(nights):
        run, code = f"2026112{number}T010203-abcdef", "0.2" if number == 2 else "0.1"
        clips = [
            clip(f"c{n}", "published", noise_sigma_after=x, psnr_to_source_db=30 + n % 7)
            for n, x in enumerate(noise)
        ]
        row: Row = {"run": run, "started": "2026-11-20T01:02:03+00:00", "clips": 40, "code": code}
        planted = [canary(f"c{n}", 4 - (noise[n] - values[n]) - n % 5 / 9) for n in range(40)]
        write_tables(str(tmp_path), run, run[:8], clips, [], [], row, canaries=planted)
    found = query(str(tmp_path), "SELECT measure, run, drifted, changed FROM drift").to_pylist()
    assert len(found) == 2 * 4  # two measures of the clips, two scores of the canaries
    drifted = [row for row in found if row["drifted"]]
    assert {(r["measure"], r["run"][:8], r["changed"]) for r in drifted} == {
        ("noise_sigma_after", "20261122", "code"), ("canary_gain_db", "20261122", "code")
    }  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "COPY clips TO '/tmp/stolen.csv'",
        "COPY (SELECT 1) TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.db'",
        "EXPORT DATABASE '/tmp/stolen'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t AS SELECT 1",
        "CREATE SECRET s (TYPE s3)",
        "INSERT INTO clips SELECT * FROM clips",
        "UPDATE clips SET state = 'published'",
        "DELETE FROM clips",
        "DROP VIEW worst_clips",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "EXPLAIN SELECT 1",
        "SELECT 1; COPY clips TO '/tmp/stolen.csv'",
        "SELECT 1; SELECT 2",
        "WITH a AS (SELECT 1) INSERT INTO clips SELECT * FROM a",
        "",
        "-- nothing",
    ],
)
def test_anything_but_one_select_is_refused(lake: str, sql: str) -> None:
    with pytest.raises(ArchiveError, match="refused: give one SELECT"):
        query(lake, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/*')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM '/tmp/other.parquet'",
        "SELECT * FROM read_parquet('s3://bucket/other.parquet')",
        "SELECT * FROM read_json('https://example.org/a.json')",
        "WITH a AS (SELECT * FROM read_csv('/etc/passwd')) SELECT * FROM a",
    ],
)
def test_files_and_addresses_are_refused(lake: str, sql: str) -> None:
    with pytest.raises(ArchiveError, match="refused: a query may only read the tables"):
        query(lake, sql)


@pytest.mark.parametrize(
    "sql", ["SELCT 1", "SELECT nothing FROM clips", "SELECT * FROM nothing", "SELECT * FROM lake"]
)
def test_wrong_sql_is_one_clear_error(lake: str, sql: str) -> None:
    with pytest.raises(ArchiveError, match="the query failed"):
        query(lake, sql)


def test_an_output_without_tables_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="has no tables"):
        query(str(tmp_path), "SELECT * FROM clips")


def test_a_table_that_was_never_written_is_empty(lake: str, tmp_path: Path) -> None:
    (tmp_path / "tables").symlink_to(Path(lake, "tables"))
    other = tmp_path / "other"
    source = Path(lake, "tables", "runs")
    (other / "tables").mkdir(parents=True)
    (other / "tables" / "runs").symlink_to(source)
    assert len(query(str(other), "SELECT * FROM shots")) == 0


def test_an_older_file_lacks_newer_columns(tmp_path: Path) -> None:
    folder = tmp_path / "tables" / "clips" / "run_date=2020-01-01" / "run=20200101T000000-abcdef"
    folder.mkdir(parents=True)
    old = pa.table({"clip_id": ["a"], "run": ["20200101T000000-abcdef"], "state": ["published"]})
    pq.write_table(old, folder / "part-0.parquet")
    (row,) = query(str(tmp_path), "SELECT clip_id, work_key, run_date FROM clips").to_pylist()
    assert row == {"clip_id": "a", "work_key": None, "run_date": dt.date(2020, 1, 1)}


def test_files_of_several_codes_are_one_table(tmp_path: Path) -> None:
    """Older files lack columns or have narrower ones; the newest is as the schema says."""
    nights = {"2026-11-20": "20261120T010203-abcdef", "2026-11-21": FIRST}
    for day, run in nights.items():
        write_tables(str(tmp_path), run, day, [clip("a", "published", frames=7)], [], [],
                     {"run": run, "started": day, "clips": 1})  # fmt: skip
    part = next(tmp_path.glob("tables/clips/run_date=2026-11-20/*/part-0.parquet"))
    old = pq.ParquetFile(part).read(["clip_id", "run", "state", "frames"])
    pq.write_table(old.set_column(3, "frames", old["frames"].cast(pa.int32())), part)
    found = query(str(tmp_path), "SELECT run_date, frames, source_uri FROM clips ORDER BY run_date")
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (dt.date(2026, 11, 20), 7, None), (dt.date(2026, 11, 21), 7, "/a"),
    ]  # fmt: skip
    assert found.schema.field("frames").type == pa.int64()
    names = query(str(tmp_path), "FROM clips").column_names
    assert names == [*PUBLISHED["clips"], "run_date"]


@pytest.mark.parametrize("name", ["a[1]", "it's", "b?*", "{x}"])
def test_an_output_may_have_any_name(lake: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(lake)
    found = query(str(tmp_path / name), "SELECT count(*) AS n FROM clips").to_pylist()
    assert found == [{"n": 10}]


def test_other_files_beside_the_tables_are_refused(lake: str) -> None:
    Path(lake, "tables", "secret.txt").write_text("x")
    for path in ("secret.txt", "clips/../secret.txt", "*.txt"):
        with pytest.raises(ArchiveError, match="a query may only read the tables"):
            query(lake, f"SELECT * FROM read_text('{lake}/tables/{path}')")


def test_a_refused_store_is_one_clear_error(
    s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{s3_prefix}/tables/clips/run_date=2020-01-01/run=x/a.parquet", b"")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ArchiveError, match="ACCESS_DENIED"):
        query(s3_prefix, "SELECT 1")


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT count(*) FROM r",
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
    ],
    ids=["recursion", "product"],
)
def test_a_query_without_end_is_stopped(lake: str, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        ArchiveError, match=r"stopped after 0.5 seconds; .* --max-seconds"
    ) as caught:
        query(lake, sql, QueryLimits(seconds=0.5))
    assert caught.value.exit_code == 2 and time.monotonic() - began < 20


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(range) FROM range(100000000)",
        "SELECT range(1000000000)",  # one value of 8 GB: DuckDB does not count it
        "SELECT repeat('x', 2000000000)",
        "SELECT * FROM range(100000000000)",  # DuckDB holds little of it, the result all
    ],
    ids=["operator", "list", "text", "rows"],
)
def test_a_query_that_takes_too_much_memory_ends(lake: str, sql: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ArchiveError, match=r"more than 0.25 GiB of memory; .* --max-memory"):
        query(lake, sql, QueryLimits(seconds=60, memory_gb=0.25))
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert query(lake, "SELECT count(*) AS n FROM clips").to_pylist() == [{"n": 10}]
