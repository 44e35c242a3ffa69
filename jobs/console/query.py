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


_LARGEST = """
    SELECT clip_id, run, shot, frame, x, y, width, height, area, bright, change, why
    FROM regions
    SEMI JOIN last_restorations USING (clip_id, run)
    WHERE decision = '{decision}'
    ORDER BY area DESC, clip_id, frame
"""
VIEWS: dict[str, str] = {
    # The last run that restored each clip.
    "last_restorations": """
        SELECT clip_id, max(run) AS run FROM clips WHERE state IN ('published', 'untouched')
        GROUP BY clip_id
    """,
    # The last row of every clip.
    "latest_clips": """
        SELECT * FROM clips
        QUALIFY row_number() OVER (PARTITION BY clip_id ORDER BY run DESC) = 1
        ORDER BY clip_id
    """,
    # Restored clips: the least improved first, then those that differ most from their source.
    "worst_clips": """
        SELECT clip_id, collection, run,
            ref_psnr_after_db - ref_psnr_before_db AS ref_psnr_gain_db,
            psnr_to_source_db, ssim_to_source,
            noise_sigma_after - noise_sigma_before AS noise_sigma_change,
            flicker_after - flicker_before AS flicker_change,
            output_uri
        FROM latest_clips
        WHERE state IN ('published', 'up_to_date')
        ORDER BY ref_psnr_gain_db NULLS LAST, psnr_to_source_db NULLS LAST, clip_id
    """,
    # Regions that the last restoration of each clip left as in the source, since they may be real:
    # the largest first.
    "suspects": _LARGEST.format(decision="suspect"),
    # Regions that the last restoration of each clip repaired, the largest first.
    "largest_repairs": _LARGEST.format(decision="repair"),
    # Restored clips to look at first: those with the largest repair, as a share of the frame.
    "review_queue": """
        SELECT clip_id, collection, run, largest_repair, largest_repair_frame,
            100.0 * largest_repair / (width * height) AS largest_repair_percent,
            regions_repaired, suspects, frames_changed, frames, output_uri
        FROM clips
        SEMI JOIN last_restorations USING (clip_id, run)
        ORDER BY largest_repair_percent DESC NULLS LAST, suspects DESC, clip_id
    """,
    # Reasons why clips are not restored, the most frequent first.
    "quarantine_by_reason": """
        SELECT reason, state, count(*) AS clips, any_value(next_step) AS next_step,
            min(clip_id) AS example, min_by(sentence, clip_id) AS example_sentence
        FROM latest_clips
        WHERE reason IS NOT NULL
        GROUP BY reason, state
        ORDER BY clips DESC, reason
    """,
    # Clips that no run has restored so far.
    "never_restored": """
        SELECT clip_id, max_by(collection, run) AS collection, max_by(state, run) AS state,
            max_by(reason, run) AS reason, max_by(sentence, run) AS sentence, count(*) AS runs,
            min(run_date) AS first_tried, max(run_date) AS last_tried
        FROM clips
        GROUP BY clip_id
        HAVING bool_and(state NOT IN ('published', 'up_to_date', 'untouched'))
        ORDER BY runs DESC, clip_id
    """,
    # Containers, codecs and picture sizes in the archive.
    "format_census": """
        SELECT container, codec, pix_fmt, width, height,
            round(fps_num / nullif(fps_den, 0), 3) AS fps, field_order,
            count(*) AS clips, sum(frames)::BIGINT AS frames,
            round(sum(frames * fps_den / nullif(fps_num, 0)) / 3600, 3) AS hours
        FROM latest_clips
        WHERE pix_fmt IS NOT NULL
        GROUP BY ALL
        ORDER BY clips DESC, frames DESC
    """,
    # Mean scores of every model and recipe, to compare runs before and after a change.
    "model_history": """
        SELECT model, weights_sha256, recipe_sha256, min(run_date) AS first_used,
            max(run_date) AS last_used, count(*) AS clips, sum(frames)::BIGINT AS frames,
            avg(psnr_to_source_db) AS psnr_to_source_db,
            avg(ref_psnr_after_db - ref_psnr_before_db) AS ref_psnr_gain_db,
            sum(seconds_model) / nullif(sum(frames), 0) AS seconds_model_per_frame
        FROM clips
        WHERE state = 'published' AND frames_reverted IS NULL
        GROUP BY ALL
        ORDER BY last_used DESC, clips DESC
    """,
}


def query(out: str, sql: str, limits: QueryLimits | None = None) -> pa.Table:
    """Return the result of one SELECT over `runs`, `clips`, `shots`, `frames`, `regions` and
    the views.

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
        for name, text in VIEWS.items():
            connection.execute(f"CREATE VIEW {name} AS {text}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        with _memory_limited(limits), _interrupted(connection, limits):
            return _fetch(connection, sql, limits)
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


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, limits: QueryLimits) -> pa.Table:
    """The whole result. Raises MemoryError if its rows are too many to print."""
    reader = connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
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
