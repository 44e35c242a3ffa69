"""Read-only SQL over the tables of an output folder: DuckDB over Parquet, on disk or in a store.

A query is one SELECT over the tables and the views. DuckDB opens the files of the tables and no
others (`jobs.console.lake`). It can write nothing.
"""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from jobs.console.lake import open_tables
from jobs.console.views import create_views, tables_named
from schemas.errors import ArchiveError, ClipFault

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
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
        open_tables(connection, out, tables_named(sql))
        create_views(connection, sql)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
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
