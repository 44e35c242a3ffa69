"""`make bench-query`: every view of `query` over a million clips and twenty million frames.

The rows are drawn here, by a seed, in the layout that runs write: a part for each table and night.
Each view runs in a process of its own with a limit of memory. The table gives seconds, CPU-seconds
and the largest memory of that process.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from jobs.console import output
from jobs.console.query import QueryLimits, query
from jobs.console.views import VIEWS, selected
from pipeline.runs.tables import PART_ROWS, to_parquet
from pipeline.store import layout
from schemas.columns import FLAG, INTEGER, REAL, TIME, Column
from schemas.tables import PUBLISHED, schema

FIRST_NIGHT = date(2026, 1, 1)
SECONDS_CLIPS, SECONDS_FRAMES, MEMORY_GB = 2.0, 10.0, 1.0  # the aims
OF_FRAMES = ("suspects", "largest_repairs", "worst_frames")  # views over frames or regions


@dataclass(frozen=True)
class Size:
    """How many rows there are, and in how many nights they were written."""

    clips: int = 1_000_000
    frames: int = 20_000_000
    nights: int = 100

    def of(self, table: str) -> int:
        """The rows of a table in one night."""
        rows = {
            "runs": self.nights, "clips": self.clips, "shots": self.clips, "frames": self.frames,
            "regions": self.frames // 10, "findings": self.clips // 10,
            "reviews": self.clips // 50, "canaries": self.clips // 50,
        }  # fmt: skip
        return max(1, rows[table] // self.nights)


# How columns are drawn from a row's number `i`, the night `n` and a hash `h` of both, an integer
# below 2^32. A clip comes again every fourth night. Other columns have one value, or none.
_STATE = (
    "CASE WHEN h % 100 < 60 THEN 'published' WHEN h % 100 < 80 THEN 'up_to_date' "
    "WHEN h % 100 < 90 THEN 'untouched' WHEN h % 100 < 95 THEN 'quarantined' ELSE 'failed' END"
)
_UNIT = "(h % 100003) / 100003.0"
_DRAWN: dict[str, dict[str, str]] = {
    "runs": {"kind": "'restoration'", "clips": "1", "code": "'0.' || (n // 30)"},
    "clips": {
        "state": _STATE,
        "reason": f"CASE {_STATE} WHEN 'failed' THEN 'STORE_ERROR' "
        "WHEN 'quarantined' THEN 'TRUNCATED' END",
        "collection": "'collection-' || (i % 40)", "frames": "1000 + h % 5000",
        "model": "'base'",
        "recipe_sha256": "repeat(substr('0123456789abcdef', 1 + n // 4 % 16, 1), 64)",
        "weights_sha256": "repeat('a', 64)", "width": "720", "height": "576",
        "fps_num": "25", "fps_den": "1", "pix_fmt": "'yuv420p'", "codec": "'ffv1'",
        "container": "'matroska'", "field_order": "'progressive'",
        "scan_measured": "CASE WHEN h % 50 = 0 THEN 'tff' ELSE 'progressive' END",
        "verdict": "CASE WHEN h % 100 >= 60 THEN 'untouched' WHEN h % 25 = 0 THEN 'fail' "
        "WHEN h % 7 = 0 THEN 'needs_review' ELSE 'pass' END",
        "largest_repair": "h % 9000", "share_changed": f"{_UNIT} * 0.03",
        "duration_seconds": "(1000 + h % 5000) / 25.0",
        "source_uri": "'s3://films/' || i || '.mkv'",
        "output_uri": "'s3://restored/' || i || '_rst.mkv'",
        "verdict_sentence": "'The largest changed region of frame ' || (h % 999) || ' is large.'",
        "sentence": "'What happened to clip ' || i", "frames_reverted": "NULL",
        **dict.fromkeys(("ref_psnr_before_db", "ref_psnr_after_db"), "NULL"),
        **dict.fromkeys(("ref_ssim_before", "ref_ssim_after"), "NULL"),
    },
    "shots": {"shot": "i % 4", "start": "0", "stop": "1000", "frames": "1000"},
    "frames": {"frame": "i % 2000", "shot": "(i % 2000) // 500", "largest_change": _UNIT},
    "regions": {
        "frame": "i % 2000", "area": "20 + h % 5000", "width": "40", "height": "30",
        "decision": "CASE WHEN h % 4 = 0 THEN 'suspect' ELSE 'repair' END", "why": "'path'",
        "bright": "true",
    },
    "findings": {
        "rule": "'region_changed'", "verdict": "'needs_review'", "measure": "'largest_change'",
        "frames": "1", "sentence": "'Why.'", "box": "'1,2,3,4'",
    },
    "reviews": {
        "decision": "CASE WHEN h % 3 = 0 THEN 'rerun' ELSE 'accept' END", "by": "'A. Curator'",
        "restored_by": "'{run}'", "verdict": "'needs_review'",
    },
    "canaries": {"preset": "'film'", "psnr_damaged_db": "20.0", "psnr_restored_db": "23.0",
                 "recipe_sha256": "repeat('0', 64)", "weights_sha256": "repeat('1', 64)"},
}  # fmt: skip
_ROWS_OF_CLIP = {"frames": 2000, "regions": 200}  # rows of one clip that follow each other


def write_lake(out: str, size: Size) -> None:
    """Write the tables of all nights below `out`."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for night in range(size.nights):
            for table in PUBLISHED:
                _write(connection, out, table, night, size)


def _write(
    connection: duckdb.DuckDBPyConnection, out: str, table: str, night: int, size: Size
) -> None:
    day = FIRST_NIGHT + timedelta(days=night)
    run = f"{day:%Y%m%d}T010203-abcdef"
    folder = layout.table_folder(out, table, day, run)
    found = connection.sql(_select(table, night, run, size)).to_arrow_table().cast(schema(table))
    found = found.sort_by([("clip_id", "ascending")]) if "clip_id" in found.column_names else found
    for number, start in enumerate(range(0, len(found), PART_ROWS)):
        path = Path(layout.table_part(folder, number))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_parquet(found.slice(start, PART_ROWS)))


def _select(table: str, night: int, run: str, size: Size) -> str:
    """The SELECT that draws a night's rows of a table."""
    clips, rows = max(1, size.of("clips")), size.of(table)
    each = _ROWS_OF_CLIP.get(table, 1)
    number = f"({night % 4} * {clips} + (range // {each}) % {clips})"
    drawn: Mapping[str, str] = {
        "clip_id": f"'clip-' || lpad({number}::VARCHAR, 8, '0')", "run": f"'{run}'",
        **{name: text.replace("{run}", run) for name, text in _DRAWN[table].items()},
    }  # fmt: skip
    columns = []
    for field in schema(table):
        text = drawn.get(field.name) or _other(PUBLISHED[table][field.name])
        columns.append(f"({text})::{_TYPES[str(field.type)]} AS {field.name}")
    source = f"SELECT range, range AS i, {night} AS n, hash(range, {night}) % 4294967296 AS h"
    return f"SELECT {', '.join(columns)} FROM ({source} FROM range({rows}))"


_TYPES = {
    "int64": "BIGINT", "double": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN",
    "timestamp[ms, tz=UTC]": "TIMESTAMP",
}  # fmt: skip


def _other(column: Column) -> str:
    """Numbers of measures are noise, so that they do not shrink in the files; the rest is empty."""
    if column.type == REAL:
        return f"round({_UNIT} * {column.high or 40}, 2)"
    if column.type == INTEGER:
        return f"h % {int(column.high or 99) + 1}"
    if not column.required:
        return "NULL"
    return {FLAG: "false", TIME: "TIMESTAMP '2026-01-01'"}.get(column.type, "'x'")


@dataclass(frozen=True)
class Answer:
    """What a query took. `error` is empty if it ended."""

    seconds: float
    cpu_seconds: float
    memory_mb: float
    rows: int
    error: str = ""


def measure(out: str, sql: str, rows: int | None = 101) -> Answer:
    """Run a query in a process of its own, and fetch at most `rows`: `query` prints 100."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (out, sql, rows))


def _measured(out: str, sql: str, rows: int | None) -> Answer:
    began, cpu = time.perf_counter(), time.process_time()
    try:
        found, error = len(query(out, sql, QueryLimits(300.0, MEMORY_GB), rows)), ""
    except Exception as fault:
        found, error = 0, str(fault)
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Answer(round(seconds, 2), round(spent, 2), round(peak), found, error)


def main(
    clips: Annotated[int, typer.Option(help="Rows of clips.")] = Size.clips,
    frames: Annotated[int, typer.Option(help="Rows of frames.")] = Size.frames,
    nights: Annotated[int, typer.Option(help="Runs that wrote them.")] = Size.nights,
    lake: Annotated[
        Path | None, typer.Option(help="Keep the tables in this folder, and use it again.")
    ] = None,
    views: Annotated[list[str] | None, typer.Option("--view", help="Only this view.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every view over drawn tables."""
    with tempfile.TemporaryDirectory(prefix="ar-lake-") as temporary:
        out = str(lake or temporary)
        if not Path(layout.tables(out)).exists():
            write_lake(out, Size(clips, frames, nights))
        asked = {name: selected(name) for name in views or VIEWS}
        found = {name: measure(out, sql) for name, sql in asked.items()}
    if as_json:
        print(json.dumps({name: vars(answer) for name, answer in found.items()}))  # noqa: T201
        return
    rows = [{"view": name, **_shown(name, answer)} for name, answer in found.items()]
    output.say(output.table(rows))
    if any(row["within"] != "yes" for row in rows):
        sys.exit(1)


def _shown(name: str, answer: Answer) -> dict[str, object]:
    aim = SECONDS_FRAMES if name in OF_FRAMES else SECONDS_CLIPS
    small = answer.memory_mb < MEMORY_GB * 1024
    within = not answer.error and answer.seconds <= aim and small
    return {
        "seconds": answer.seconds, "CPU-seconds": answer.cpu_seconds, "MiB": answer.memory_mb,
        "rows": answer.rows, "aim": aim, "within": "yes" if within else answer.error[:60] or "no",
    }  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
