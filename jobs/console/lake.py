"""The tables of an output, as DuckDB sees them: Parquet files on disk, or in a store.

DuckDB reads files on disk itself, and may open these files and no others. What it does not read (a
store, or files in the place where an older code put them) it sees as an Arrow dataset.
"""

import re
from collections.abc import Collection, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FileSystem, LocalFileSystem

from pipeline.store import layout, storage
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from schemas.errors import ArchiveError
from schemas.tables import PUBLISHED, schema

_DAY = "run_date"
_PARTITIONS = ds.partitioning(pa.schema([(_DAY, pa.date32())]), flavor="hive")
# No sign that DuckDB reads as a pattern, and no second partition.
_PLAIN = re.compile(r"[^*?\[\]{}]*/run_date=[0-9-]{10}/[^/=]+/part-\d+\.parquet")
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
    partitioned = pa.schema([*schema(table), pa.field(_DAY, pa.date32())])
    if not paths:
        return ds.dataset(partitioned.empty_table())
    filesystem, places = _places(paths)
    return ds.dataset(
        places,
        schema=partitioned,
        format="parquet",
        filesystem=filesystem,
        partitioning=_PARTITIONS,
    )


def _places(paths: Sequence[str]) -> tuple[FileSystem, list[str]]:
    """The file system of these files, and their paths on it."""
    if not is_s3(paths[0]):
        return LocalFileSystem(), list(paths)
    filesystem, _ = FileSystem.from_uri(paths[0])
    return filesystem, [uri.removeprefix("s3://") for uri in paths]
