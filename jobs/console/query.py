"""Read-only SQL over the tables of an output folder: DuckDB over Parquet, on disk or in a store.

A query is one SELECT. DuckDB opens no file and no address itself: it sees the tables as Arrow
datasets, and the views below. It can write nothing.
"""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FileSystem, LocalFileSystem

from jobs.console.views import create_views
from pipeline.store import layout, storage
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from schemas.errors import ArchiveError, ClipFault
from schemas.tables import PUBLISHED, schema

_PARTITIONS = ds.partitioning(pa.schema([("run_date", pa.date32())]), flavor="hive")
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",  # DuckDB writes no temporary file
}

GIB = 2**30
_OVERHEAD = GIB // 2  # memory of threads and of reading the tables, beside DuckDB's own
_RESULT_SHARE = 8  # a printed row takes some eight times the memory of a row of Arrow
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class QueryLimits:
    """How long a query may run, and how much memory it may take."""

    seconds: float = 300.0
    memory_gb: float = 2.0

    @property
    def memory(self) -> int:
        """The memory in bytes."""
        return int(self.memory_gb * GIB)


def query(
    out: str, sql: str, limits: QueryLimits | None = None, rows: int | None = None
) -> pa.Table:
    """Return the result of one SELECT over `runs`, `clips`, `shots`, `frames`, `regions` and
    the views: at most the first ``rows``.

    Raises ArchiveError for other statements, for SQL that fails, if there are no tables, and at a
    limit of time or memory.
    """
    limits = limits or QueryLimits()
    settings = _SETTINGS | {"memory_limit": f"{limits.memory // 2**20}MiB"}
    connection = duckdb.connect(":memory:", config=settings)
    try:
        _check_single_select(connection, sql)
        for name in PUBLISHED:
            connection.register(name, _dataset(out, name))
        create_views(connection, sql)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        with _memory_limited(limits), _interrupted(connection, limits):
            return _fetch(connection, sql, limits, rows)
    except duckdb.InterruptException as error:
        raise ArchiveError(
            f"the query was stopped after {limits.seconds:g} seconds; select less, or raise "
            "--max-seconds"
        ) from error
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise ArchiveError(
            f"the query needs more than {limits.memory_gb:g} GiB of memory; select less, or raise "
            "--max-memory"
        ) from error
    except duckdb.PermissionException as error:
        raise ArchiveError(f"refused: a query may only read the tables: {error}") from error
    except duckdb.Error as error:
        raise ArchiveError(f"the query failed: {error}") from error
    except ClipFault as fault:
        raise ArchiveError(str(fault)) from fault
    except OSError as error:
        raise ArchiveError(f"the tables of {out} cannot be read: {error}") from error
    finally:
        connection.close()


def _fetch(
    connection: duckdb.DuckDBPyConnection, sql: str, limits: QueryLimits, rows: int | None
) -> pa.Table:
    """The result, or its first rows. Raises MemoryError if its rows are too many to print."""
    relation = connection.sql(sql)
    relation = relation if rows is None else relation.limit(rows)
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    batches, size = list[pa.RecordBatch](), 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > limits.memory // _RESULT_SHARE:
            raise MemoryError
    return pa.Table.from_batches(batches, reader.schema)


@contextmanager
def _interrupted(connection: duckdb.DuckDBPyConnection, limits: QueryLimits) -> Iterator[None]:
    """Interrupt the query at its limit of time."""
    timer = threading.Timer(limits.seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _memory_limited(limits: QueryLimits) -> Iterator[None]:
    """Limit the memory of this process.

    DuckDB counts what its operators take, but not a single value: `SELECT range(1000000000)` takes
    8 GB whatever its memory_limit, and no interrupt ends it. The kernel refuses such a value.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    allowed = pages * resource.getpagesize() + limits.memory + _OVERHEAD
    lowest = min([allowed, *(n for n in (soft, hard) if n != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _check_single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise ArchiveError unless DuckDB's parser finds exactly one SELECT."""
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    if kinds != ["SELECT"]:
        found = ", ".join(kinds) or "nothing"
        raise ArchiveError(f"refused: give one SELECT, not {found}; nothing was run")


def _dataset(out: str, table: str) -> ds.Dataset:
    """Return a table's files as a dataset; an empty one if no run wrote any."""
    root = layout.tables(out)
    files = [u for u in storage.listing(layout.table(out, table)) if u.endswith(".parquet")]
    partitioned = pa.schema([*schema(table), pa.field("run_date", pa.date32())])
    if not files:
        if not storage.folders(root):
            raise ArchiveError(f"{out} has no tables yet: a run writes them when it ends")
        return ds.dataset(partitioned.empty_table())
    filesystem, paths = _places(files)
    return ds.dataset(
        paths,
        schema=partitioned,
        format="parquet",
        filesystem=filesystem,
        partitioning=_PARTITIONS,
    )


def _places(uris: list[str]) -> tuple[FileSystem, list[str]]:
    """Return the file system of these addresses, and their paths on it."""
    if not is_s3(uris[0]):
        return LocalFileSystem(), [str(local_path(uri)) for uri in uris]
    filesystem, _ = FileSystem.from_uri(uris[0])
    return filesystem, [uri.removeprefix("s3://") for uri in uris]
