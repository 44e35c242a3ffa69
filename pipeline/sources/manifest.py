"""Read a manifest: all faults of all rows at once, or the rows with their types."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources import allowlist
from pipeline.sources.allowlist import URI_COLUMNS, overlaps
from pipeline.sources.formats import (
    ROW,
    Cells,
    ManifestFault,
    as_text,
    batches,
    format_of,
    parse,
)
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.manifest import CHECKSUM_DIGITS, COLUMNS, OVERRIDES, parse_rate
from schemas.manifest_model import breaches

Row = dict[str, object]

_SHOWN_FAULTS = 100
_KEPT_FAULTS = 10_000
_SHOWN_CHARACTERS = 120


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


def read_manifest(uri: str, out: str | None = None) -> list[Row]:
    """The rows of a manifest. Raises ManifestInvalid with every fault."""
    format_of(uri)
    return read_rows(uri, storage.read_bytes(uri), out)


def read_rows(uri: str, data: bytes, out: str | None = None) -> list[Row]:
    """The rows of a manifest whose bytes are given. Raises ManifestInvalid.

    With `out`, an original that would mix with the output is a fault as well: see `overlaps`.

    A row has a key for every column of the schema. None stands for an empty cell. `priority` is an
    integer, `expected_fps` a ratio as text, and sources are absolute. A row with a `checksum` has a
    `checksum_algo`.
    """
    rows, faults = inspect_rows(uri, data, out)
    if errors := [fault for fault in faults if fault.severity == "error"]:
        raise ManifestInvalid(uri, errors)
    return rows


def inspect_rows(
    uri: str, data: bytes, out: str | None = None
) -> tuple[list[Row], list[ManifestFault]]:
    """Rows and faults, warnings included. If there are errors, there are no rows."""
    table, faults = parse(data, format_of(uri))
    if not any(fault.row == 0 for fault in faults):  # a fault of the whole file: there is no table
        faults += validate_manifest(table)
    if any(fault.severity == "error" for fault in faults):
        return [], sorted(faults, key=lambda fault: fault.row)
    folder = _folder(uri)
    numbered = _numbered(table, folder)
    if found := list(_place_faults(numbered, out)):
        return [], [*faults, *found]
    return [row for _, row in numbered], faults


def stream_manifest(stream: BinaryIO, uri: str, out: str | None = None) -> Iterator[list[Row]]:
    """Yield the rows of a manifest in parts, so that memory holds one part.

    The stream is read twice: first for the faults, then for the rows. A manifest with faults yields
    no row. Raises ManifestInvalid with at most 10,000 faults.
    """
    faults = list(itertools.islice(_stream_faults(stream, uri, out), _KEPT_FAULTS))
    if faults:
        raise ManifestInvalid(uri, sorted(faults, key=lambda fault: fault.row))
    stream.seek(0)
    folder = _folder(uri)
    for table, _ in batches(stream, format_of(uri)):
        yield [_typed(cells, folder) for _, cells in _cells(table)]


def _stream_faults(stream: BinaryIO, uri: str, out: str | None) -> Iterator[ManifestFault]:
    """Yield the errors of a manifest. Memory keeps the clip_id of every row."""
    kept: list[pa.Table] = []
    for table, faults in batches(stream, format_of(uri)):
        if not any(fault.row == 0 for fault in faults):
            faults += [*_cell_faults(table), *_checksum_faults(table)]
        errors = [fault for fault in faults if fault.severity == "error"]
        yield from errors
        if not errors:
            yield from _place_faults(_numbered(table, _folder(uri)), out)
        if "clip_id" in table.column_names:
            kept.append(table.select([ROW, "clip_id"]))
    if kept:
        yield from _duplicates(pa.concat_tables(kept))


def _folder(uri: str) -> str:
    """The folder that relative addresses of a manifest start from."""
    return _plain(uri).rsplit("/", 1)[0]


def validate_manifest(table: pa.Table) -> list[ManifestFault]:
    """Every fault of a table, in the order of its rows.

    The table may come from `parse`, with row numbers, or from any other reader. Then rows count
    from 1.
    """
    table, faults = as_text(table)
    names = [name for name in table.column_names if name != ROW]
    faults += [
        ManifestFault(0, name, None, "is not a column of the schema and is ignored", "warning")
        for name in names
        if name not in COLUMNS
    ]
    if not len(table):
        faults.append(ManifestFault(0, "", None, "has no rows", "warning"))
    faults += _cell_faults(table)
    faults += _checksum_faults(table)
    faults += _duplicates(table)
    return sorted(faults, key=lambda fault: fault.row)


def _numbered(table: pa.Table, folder: str) -> list[tuple[int, Row]]:
    return [(number, _typed(cells, folder)) for number, cells in _cells(table)]


def _place_faults(numbered: list[tuple[int, Row]], out: str | None) -> Iterator[ManifestFault]:
    """Yield a fault for every source outside of the allowed places, or in the output."""
    places = allowlist.allowed()
    for number, row in numbered:
        for column in URI_COLUMNS:
            if row[column] is not None and row[column] not in places:
                sentence = f"lies outside of the places in {allowlist.VARIABLE}"
                yield ManifestFault(number, column, _shown(str(row[column])), sentence)
    if out is not None:
        yield from overlaps(numbered, out)


def _cell_faults(table: pa.Table) -> Iterator[ManifestFault]:
    """Yield one fault for every cell that breaks the schema, with all rules that it breaks."""
    numbers = table[ROW].to_pylist()
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row, column, sentence in breaches(table):
        if row is None:
            yield ManifestFault(0, column, None, sentence)
        else:
            found[row, column].append(sentence)
    for (index, column), sentences in found.items():
        value = _shown(table[column][index].as_py(), sentences)
        yield ManifestFault(numbers[index], column, value, "; ".join(sentences))


def _checksum_faults(table: pa.Table) -> Iterator[ManifestFault]:
    """Yield checksums of the wrong length, and algorithms without a checksum."""
    for number, cells in _cells(table):
        checksum, algorithm = cells.get("checksum"), cells.get("checksum_algo")
        if checksum is None:
            if algorithm is not None:
                yield ManifestFault(
                    number, "checksum", None, "is empty, but checksum_algo is given"
                )
            continue
        digits = CHECKSUM_DIGITS.get((algorithm or "").lower())
        if digits and len(checksum) != digits:
            sentence = f"has {len(checksum)} digits, {algorithm} has {digits}"
            yield ManifestFault(number, "checksum", _shown(checksum), sentence)
        elif algorithm is None and len(checksum) not in CHECKSUM_DIGITS.values():
            allowed = " or ".join(f"{n} ({name})" for name, n in CHECKSUM_DIGITS.items())
            sentence = f"has {len(checksum)} digits, not {allowed}"
            yield ManifestFault(number, "checksum", _shown(checksum), sentence)


def _duplicates(table: pa.Table) -> Iterator[ManifestFault]:
    """Yield every clip_id that an earlier row has, ignoring case: their outputs would collide."""
    if "clip_id" not in table.column_names:
        return
    table = table.filter(pc.is_valid(table["clip_id"]))
    lowered = pc.utf8_lower(table["clip_id"]).combine_chunks().dictionary_encode()
    _, first, codes = np.unique(lowered.indices, return_index=True, return_inverse=True)
    numbers = table[ROW].to_numpy()
    for index in np.flatnonzero(first[codes] != np.arange(len(codes))):
        sentence = f"is the clip_id of row {numbers[first[codes[index]]]} already"
        clip = table["clip_id"][int(index)].as_py()
        yield ManifestFault(int(numbers[index]), "clip_id", _shown(clip), sentence)


def _cells(table: pa.Table) -> Iterator[tuple[int, Cells]]:
    for row in table.to_pylist():
        yield int(row.pop(ROW)), row


def _shown(value: str | None, sentences: Iterable[str] = ()) -> str | None:
    """A value for a message: shortened, and None if it holds credentials."""
    if value is None or any("credentials" in sentence for sentence in sentences):
        return None
    return value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"


def _typed(cells: Cells, folder: str) -> Row:
    """A row without faults, with its types."""
    row: Row = {name: cells.get(name) for name in COLUMNS}
    for name in URI_COLUMNS:
        if (uri := cells.get(name)) is not None:
            row[name] = _absolute(uri, folder)
    if (checksum := cells.get("checksum")) is not None:
        by_length = {digits: name for name, digits in CHECKSUM_DIGITS.items()}
        row["checksum"] = checksum.lower()
        row["checksum_algo"] = by_length[len(checksum)]
    for name in ("field_order", *OVERRIDES):
        if (word := cells.get(name)) is not None:
            row[name] = word.lower()
    if (rate := cells.get("expected_fps")) is not None:
        row["expected_fps"] = str(parse_rate(rate))
    row["priority"] = int(cells.get("priority") or 0)
    return row


def _absolute(uri: str, folder: str) -> str:
    """An absolute address. A relative path starts at `folder`."""
    if uri.startswith(("s3://", "file://")):
        return uri
    plain = os.path.normpath(uri)
    return plain if uri.startswith("/") else storage.join(folder, plain)


def _plain(uri: str) -> str:
    """An s3:// address unchanged, and any other address as an absolute path."""
    return uri if storage.is_s3(uri) else os.path.abspath(storage.local_path(uri))
