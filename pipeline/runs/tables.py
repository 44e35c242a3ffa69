"""Publish the rows of a run as Parquet files below OUT/tables.

The tables come from the ledger's results, so a second writing gives the same files: nothing counts
twice and nothing is lost, even if a run is resumed often. Every file is checked by `schemas.tables`
and appears whole. `runs` is written last, so a run in `runs` has all its rows.
"""

import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import layout, storage
from pipeline.store.storage import DIRECT, Store
from schemas.columns import INTEGER, REAL, TIME, with_columns
from schemas.tables import PUBLISHED, check, schema

PART_ROWS = 200_000
_PART = re.compile(r"part-(\d+)\.parquet")
DAY_ROWS = 1000  # of a part that is written again for each review or revert
_ORDER = {
    "runs": ("run",),
    "clips": ("clip_id",),
    "shots": ("clip_id", "shot"),
    "frames": ("clip_id", "frame"),
    "findings": ("clip_id", "rule"),
    "canaries": ("clip_id", "shot"),
    "reviews": ("clip_id",),
}


def write_tables(
    out: str,
    run: str,
    run_date: str | date,
    clips: Iterable[Mapping[str, object]],
    shots: Iterable[Mapping[str, object]],
    frames: Iterable[Mapping[str, object]],
    run_row: Mapping[str, object],
    store: Store = DIRECT,
    *,
    regions: Iterable[pa.Table] = (),
    findings: Iterable[Mapping[str, object]] = (),
    canaries: Iterable[Mapping[str, object]] = (),
) -> None:
    """Write all tables of a run. `run_date` is YYYY-MM-DD.

    `run` is added to every row, and a missing column is null. `regions` are sorted by clip and
    frame, and have their `run`. Frames and regions may be generators: memory holds one part of
    them. Raises ValueError for rows that break the schema.
    """
    day = date.fromisoformat(run_date) if isinstance(run_date, str) else run_date
    in_order = {
        "regions": _region_parts(regions),
        "frames": _row_parts("frames", frames, run),
        "shots": _row_parts("shots", shots, run),
        "findings": _row_parts("findings", findings, run),
        "canaries": _row_parts("canaries", canaries, run),
        "clips": _row_parts("clips", clips, run),
        "runs": _row_parts("runs", [run_row], run),
    }
    for name, parts in in_order.items():
        written = _write_table(store, layout.table_folder(out, name, day, run), parts)
        for folder in (layout.table_folder, layout.former_table_folder):
            for uri in set(store.listing(folder(out, name, day, run))) - written:
                store.delete(uri)  # of an earlier, longer table, or in the former place


def write_review(out: str, row: Mapping[str, object], store: Store = DIRECT) -> None:
    """Add a review to tables/reviews, into the file of its day. Its column `run` is its id.

    Writing a row again changes nothing. Only the holder of the output's lease calls it. Raises
    ValueError for a row that breaks the schema.
    """
    at = date.fromisoformat(str(row["at"])[:10])
    _add(out, "reviews", at, to_table("reviews", [row], str(row["run"])), store)


def write_replacement(
    out: str,
    run: str,
    day: date,
    clip: Mapping[str, object],
    shots: Sequence[Mapping[str, object]],
    frames: Iterable[Mapping[str, object]],
    run_row: Mapping[str, object],
    store: Store = DIRECT,
    *,
    regions: Iterable[pa.Table] = (),
    findings: Sequence[Mapping[str, object]] = (),
) -> None:
    """Write the rows of a clip whose pictures were replaced, as `write_tables` does.

    Frames and regions get files of their own, the other rows go into the files of the day: people
    replace thousands of clips. Writing them again changes nothing. Only the holder of the output's
    lease calls it. Raises ValueError for rows that break the schema.
    """
    many = {"regions": _region_parts(regions), "frames": _row_parts("frames", frames, run)}
    for name, parts in many.items():
        _write_table(store, layout.table_folder(out, name, day, run), parts)
    few = {"shots": shots, "findings": findings, "clips": [clip], "runs": [run_row]}
    for name, rows in few.items():
        if rows:
            _add(out, name, day, to_table(name, rows, run), store)


def _add(out: str, name: str, day: date, new: pa.Table, store: Store) -> None:
    """Add rows of one id to the file of their day, unless they are there.

    The last part is replaced as a whole: a reader finds it with all of the rows or with none.
    """
    run, parts = str(new["run"][0]), dict[int, str]()
    for uri in store.listing(layout.table_day(out, name, day)):
        folder, file = uri.split("/")[-2:]
        if folder == run:
            return  # an older code wrote them into a folder of their own
        if folder == layout.OF_A_DAY and (number := _PART.fullmatch(file)):
            parts[int(number[1])] = uri
    last, old = max(parts, default=0), new.slice(0, 0)
    if parts:
        old = with_columns(pq.read_table(io.BytesIO(store.read_bytes(parts[last]))), new.schema)
        if _ids(new)[0] in _ids(old):
            return  # nothing is added before a step that is not finished, so they come last
        if len(old) >= DAY_ROWS:
            last, old = last + 1, new.slice(0, 0)
    uri = layout.table_part(layout.table_folder(out, name, day, layout.OF_A_DAY), last)
    store.write_bytes(uri, to_parquet(pa.concat_tables([old, new])))


def _ids(rows: pa.Table) -> list[tuple[str, ...]]:
    """The clip and the run of each row; the run alone if there is no clip."""
    names = [name for name in ("clip_id", "run") if name in rows.column_names]
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def reviews_written(out: str, keys: Collection[str]) -> set[tuple[str, str]]:
    """The reviews whose id ends with one of `keys`: clip, and key of six hexadecimal digits."""
    uris = []
    for uri in storage.listing(layout.table(out, "reviews")):
        folder = uri.split("/")[-2]
        if folder == layout.OF_A_DAY or folder[-6:] in keys:
            uris.append(uri)
    found = set()
    for data in storage.read_many(uris).values():
        rows = pq.read_table(io.BytesIO(data), columns=["clip_id", "run"])
        found |= set(zip(rows["clip_id"].to_pylist(), rows["run"].to_pylist(), strict=True))
    return {(clip, run[-6:]) for clip, run in found if run[-6:] in keys}


def to_table(name: str, rows: Sequence[Mapping[str, object]], run: str) -> pa.Table:
    """The rows as a sorted table that passes its schema. Raises ValueError."""
    columns = PUBLISHED[name]
    unknown = sorted({key for row in rows for key in row} - columns.keys())
    if unknown:
        raise ValueError(f"tables/{name}: no column {', '.join(unknown)} in schemas/tables.py")
    arrays = {}
    for key, column in columns.items():
        values = [run if key == "run" else row.get(key) for row in rows]
        try:
            arrays[key] = pa.array([_plain(v, column.type) for v in values], column.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"tables/{name}: {key}: {error}") from error
    table = pa.table(list(arrays.values()), names=list(arrays))
    check(name, table)
    return table.cast(schema(name)).sort_by([(key, "ascending") for key in _ORDER[name]])


def to_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _write_table(store: Store, folder: str, parts: Iterable[pa.Table]) -> set[str]:
    """Write the parts of a table. Returns their addresses."""
    written = set()
    for number, part in enumerate(parts):
        uri = layout.table_part(folder, number)
        store.write_bytes(uri, to_parquet(part))
        written.add(uri)
    return written


def _region_parts(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield parts of about PART_ROWS rows, each checked; one empty part if there are no rows."""
    waiting = [schema("regions").empty_table()]
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= PART_ROWS:
            yield check("regions", pa.concat_tables(waiting).combine_chunks())
            waiting.clear()
    if waiting:
        yield check("regions", pa.concat_tables(waiting).combine_chunks())


def _row_parts(name: str, rows: Iterable[Mapping[str, object]], run: str) -> Iterator[pa.Table]:
    """Yield parts of at most PART_ROWS rows; one empty part if there are no rows."""
    stream = iter(rows)
    yield to_table(name, list(islice(stream, PART_ROWS)), run)
    while part := list(islice(stream, PART_ROWS)):
        yield to_table(name, part, run)


def _plain(value: object, type: pa.DataType) -> object:
    """The value as its column stores it. NaN and infinity become null."""
    if callable(scalar := getattr(value, "item", None)):
        value = scalar()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if type == TIME and isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(value, bool) and type in (INTEGER, REAL):
        raise TypeError(f"{value} is not a number")
    if isinstance(value, float) and type == INTEGER and not value.is_integer():
        raise TypeError(f"{value} is not an integer")
    return value
