"""Read a manifest: its clips, or all faults of all rows at once."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.clip.clip import Clip
from pipeline.sources import check
from pipeline.sources.allowlist import URI_COLUMNS, Original
from pipeline.sources.formats import ROW, ManifestFault, batches, parse, readable
from pipeline.store import address, local, storage
from schemas.errors import ArchiveError
from schemas.manifest import CHECKSUM_DIGITS, COLUMNS, OVERRIDES, parse_rate

_SHOWN_FAULTS = 100
_KEPT_FAULTS = 10_000

Warn = Callable[[ManifestFault], None]


class ManifestInvalid(ArchiveError):
    """A manifest with faults. `faults` holds all of them as dicts, the message the first 100."""

    def __init__(self, uri: str, faults: Iterable[ManifestFault]) -> None:
        found = list(faults)
        lines = [f"  {fault}" for fault in found[:_SHOWN_FAULTS]]
        if more := len(found) - len(lines):
            lines.append(f"  and {more} more")
        count = "1 fault" if len(found) == 1 else f"{len(found)} faults"
        self.text = "\n".join([f"manifest {uri}: {count}; nothing was started", *lines])
        self.faults = [fault._asdict() for fault in found]
        super().__init__(self.text)
        self.args = (uri, found)  # pickle passes these to __init__

    @property
    def message(self) -> str:
        """One line for the manifest and one for each fault."""
        return self.text


def _ignore(warning: ManifestFault) -> None:
    """Drop a warning."""


def read_manifest(uri: str, out: str | None = None, warn: Warn = _ignore) -> list[Clip]:
    """The clips of a manifest. Raises ManifestInvalid with every fault.

    `warn` gets each warning, such as a column that is ignored.

    With `out`, an original that would mix with the output is a fault as well: see
    `allowlist.overlaps`.
    """
    clips, faults = inspect_manifest(uri, out=out)
    for fault in faults:
        if fault.severity == "warning":
            warn(fault)
    if errors := [fault for fault in faults if fault.severity == "error"]:
        raise ManifestInvalid(uri, errors)
    return clips


def inspect_manifest(
    uri: str, data: bytes | None = None, out: str | None = None
) -> tuple[list[Clip], list[ManifestFault]]:
    """Clips and faults of a manifest, warnings included; `data` if its bytes are at hand.

    If there are errors, there are no clips.
    """
    folder = _folder(uri)
    table, faults = parse(uri, data)
    if not any(fault.row == 0 for fault in faults):  # a fault of the whole file: there is no table
        faults += check.table_faults(table)
    if any(fault.severity == "error" for fault in faults):
        return [], sorted(faults, key=lambda fault: fault.row)
    if found := list(check.place_faults(_originals(table, folder), out)):
        return [], [*faults, *found]
    return _clips(table, folder), faults


@contextmanager
def opened_manifest(uri: str) -> Iterator[BinaryIO]:
    """The manifest, open for `stream_manifest`. Raises ArchiveError if it cannot be read."""
    with ExitStack() as stack:
        with readable(uri):
            stream = stack.enter_context(storage.opened(uri))
        yield stream


def stream_manifest(
    stream: BinaryIO, uri: str, out: str | None = None, warn: Warn = _ignore
) -> Iterator[list[Clip]]:
    """Yield the clips of a manifest in parts, so that memory holds one part.

    The stream is read twice: first for the faults, then for the clips. A manifest with faults
    yields no clip. `warn` gets each warning before the first part. Raises ManifestInvalid with at
    most 10,000 faults.
    """
    faults = list(itertools.islice(_stream_faults(stream, uri, out, warn), _KEPT_FAULTS))
    if faults:
        raise ManifestInvalid(uri, sorted(faults, key=lambda fault: fault.row))
    stream.seek(0)
    for table, _ in batches(stream, uri):
        yield _clips(table, _folder(uri))


def _stream_faults(
    stream: BinaryIO, uri: str, out: str | None, warn: Warn
) -> Iterator[ManifestFault]:
    """Yield the errors of a manifest. Memory keeps the clip_id of every row."""
    kept: list[pa.Table] = []
    warned: set[str] = set()
    rows = 0
    for table, faults in batches(stream, uri):
        rows += len(table)
        for warning in check.unknown_columns(table):
            if warning.column not in warned:
                warned.add(warning.column)
                warn(warning)
        readable = not any(fault.row == 0 for fault in faults)
        found = [*faults, *(check.part_faults(table) if readable else ())]
        errors = [fault for fault in found if fault.severity == "error"]
        yield from errors
        if not errors:
            yield from check.place_faults(_originals(table, _folder(uri)), out)
        if "clip_id" in table.column_names:
            kept.append(table.select([ROW, "clip_id"]))
    if kept:
        yield from check.duplicates(pa.concat_tables(kept))
    if not rows:
        warn(check.NO_ROWS)


def _folder(uri: str) -> str:
    """The folder that relative addresses of a manifest start from."""
    plain = uri if address.is_s3(uri) else os.path.abspath(local.local_path(uri))
    return plain.rsplit("/", 1)[0]


def _clips(table: pa.Table, folder: str) -> list[Clip]:
    """The clips of a table without faults.

    `expected_fps` is a ratio, addresses are absolute, and a clip with a `checksum` has its
    `checksum_algo`.
    """
    cells: dict[str, list[Any]] = _addresses(table, folder)
    for name in COLUMNS.keys() - cells.keys() & set(table.column_names):
        if table[name].null_count < len(table):
            values = table[name].to_pylist()
            change = _CHANGES.get(name)
            cells[name] = values if change is None else [v and change(v) for v in values]
    cells["priority"] = [int(value or 0) for value in cells.get("priority", [0] * len(table))]
    if (sums := cells.get("checksum")) is not None:
        cells["checksum_algo"] = [value and _ALGORITHMS[len(value)] for value in sums]
    rows = zip(*cells.values(), strict=True)
    return [Clip(**dict(zip(cells, row, strict=True))) for row in rows]


_ALGORITHMS = {digits: name for name, digits in CHECKSUM_DIGITS.items()}
_CHANGES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("checksum", "field_order", *OVERRIDES), str.lower),
    "expected_fps": lambda text: str(parse_rate(text)),
}


def _addresses(table: pa.Table, folder: str) -> dict[str, list[str | None]]:
    """The addresses of a table without faults, by column, absolute."""
    return {
        name: [uri and _absolute(uri, folder) for uri in table[name].to_pylist()]
        for name in URI_COLUMNS
        if name in table.column_names and table[name].null_count < len(table)
    }


def _originals(table: pa.Table, folder: str) -> Iterator[tuple[int, Original]]:
    """Number and addresses of each row of a table without faults."""
    found = _addresses(table, folder)
    columns = (found.get(name, repeat(None, len(table))) for name in URI_COLUMNS)
    return zip(table[ROW].to_pylist(), map(Original, *columns), strict=True)


def _absolute(uri: str, folder: str) -> str:
    """An absolute address. A relative path starts at `folder`."""
    if uri.startswith(("s3://", "file://")):
        return uri
    plain = os.path.normpath(uri)
    return plain if uri.startswith("/") else address.join(folder, plain)
