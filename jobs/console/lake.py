"""The tables of an output, as DuckDB sees them: Parquet files on disk, or in a store.

DuckDB reads files on disk itself, and may open these files and no others. What it does not read (a
store, or files in the place where an older code put them) it sees as an Arrow dataset.
"""

import io
import re
from collections.abc import Collection, Sequence
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, LocalFileSystem

from pipeline.store import layout, storage
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from schemas.columns import with_columns
from schemas.errors import ArchiveError
from schemas.tables import PUBLISHED, schema

_DAY = "run_date"
_PARTITIONS = ds.partitioning(pa.schema([(_DAY, pa.date32())]), flavor="hive")
# No sign that DuckDB reads as a pattern, and no second partition.
_PLAIN = re.compile(r"[^*?\[\]{}]*/run_date=[0-9-]{10}/[^/=]+/part-\d+\.parquet")
_OF_A_DAY = re.compile(rf"/{_DAY}=(\d{{4}}-\d\d-\d\d)/{layout.OF_A_DAY}/part-\d+\.parquet$")
_TYPES = {
    pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.bool_(): "BOOLEAN",
    pa.timestamp("ms", "UTC"): "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip


def open_tables(connection: duckdb.DuckDBPyConnection, out: str, names: Collection[str]) -> None:
    """Make published tables of an output known to a new connection, and nothing else.

    From now on the connection may open the files of these tables only. A table that no run wrote is
    empty. Raises ArchiveError if there are no tables, and what a store raises.
    """
    files = {name: _files(out, name) for name in PUBLISHED if name in names}
    if not any(files.values()) and not storage.folders(layout.tables(out)):
        raise ArchiveError(f"{out} has no tables yet: a run writes them when it ends")
    plain = {name: paths for name, paths in files.items() if _is_plain(paths)}
    allowed = [path for paths in plain.values() for path in paths]
    connection.execute(f"SET allowed_paths = {_listed(allowed)}")
    connection.execute("SET enable_external_access = false")
    for name, paths in files.items():
        if name in plain:
            _create_view(connection, name, paths)
        else:
            connection.register(name, _dataset(paths, name))


def _files(out: str, table: str) -> list[str]:
    """The paths of a table's files, or their addresses in a store."""
    uris = [u for u in storage.listing(layout.table(out, table)) if u.endswith(".parquet")]
    return uris if is_s3(out) else [str(local_path(uri).absolute()) for uri in uris]


def _is_plain(paths: Sequence[str]) -> bool:
    return bool(paths) and all(not is_s3(p) and bool(_PLAIN.fullmatch(p)) for p in paths)


def _listed(paths: Sequence[str]) -> str:
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str]) -> None:
    """A view with the columns of the schema. An older file lacks some: there they are null."""
    source = (
        f"read_parquet({_listed(paths)}, union_by_name = true, hive_partitioning = true, "
        f"hive_types = {{'{_DAY}': DATE}})"
    )
    found = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
    columns = []
    for field in schema(name):
        kind, quoted = _TYPES[field.type], f'"{field.name}"'
        if field.name not in found:
            columns.append(f"NULL::{kind} AS {quoted}")
        else:
            same = found[field.name] == kind
            columns.append(quoted if same else f"{quoted}::{kind} AS {quoted}")
    connection.execute(f"CREATE VIEW {name} AS SELECT {', '.join(columns)}, {_DAY} FROM {source}")


def _dataset(paths: Sequence[str], table: str) -> ds.Dataset:
    """A table's files as a dataset; an empty one if there are none."""
    wanted = pa.schema([*schema(table), pa.field(_DAY, pa.date32())])
    changing = _changing(paths)
    left = [path for path in paths if path not in changing]
    found = [_whole(changing, table, wanted)] if changing or not left else []
    if left:
        filesystem, places = _places(left)
        found.append(
            ds.dataset(
                places, schema=wanted, format="parquet", filesystem=filesystem,
                partitioning=_PARTITIONS,
            )
        )  # fmt: skip
    return found[0] if len(found) == 1 else ds.dataset(found)


def _changing(paths: Sequence[str]) -> set[str]:
    """Objects of a store that a review or a revert may replace while they are read."""
    days = {path: day[1] for path in paths if (day := _OF_A_DAY.search(path)) and is_s3(path)}
    newest = max(days.values(), default="")
    return {path for path, day in days.items() if day == newest}


def _whole(paths: Collection[str], table: str, wanted: pa.Schema) -> ds.Dataset:
    """The rows of small objects, each read in one request: as it was before a change or after."""
    parts = [wanted.empty_table()]
    for path, data in storage.read_many(sorted(paths)).items():
        rows = with_columns(pq.read_table(io.BytesIO(data)), schema(table))
        day = date.fromisoformat(_OF_A_DAY.search(path)[1])  # type: ignore[index]
        parts.append(
            rows.append_column(wanted.field(_DAY), pa.array([day] * len(rows), pa.date32()))
        )
    return ds.dataset(pa.concat_tables(parts).cast(wanted))


def _places(paths: Sequence[str]) -> tuple[FileSystem, list[str]]:
    """The file system of these files, and their paths on it."""
    if not is_s3(paths[0]):
        return LocalFileSystem(), list(paths)
    filesystem, _ = FileSystem.from_uri(paths[0])
    return filesystem, [uri.removeprefix("s3://") for uri in paths]
