"""Reads a manifest: every fault of every row in one go, or the rows with their types.

The bytes come from storage or, in a run, from Ray Data; from there on it is the same code.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clip.clip import Clip
from pipeline.sources import allowlist
from pipeline.sources.allowlist import URI_COLUMNS, overlaps
from pipeline.sources.formats import (
    ROW,
    Cells,
    Fault,
    Format,
    as_text,
    batches,
    format_of,
    parse,
)
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.manifest import CHECKSUM_DIGITS, COLUMNS, OVERRIDES, parse_rate
from schemas.manifest_model import breaches

__all__ = [
    "Fault",
    "ManifestInvalid",
    "inspect_manifest",
    "inspect_rows",
    "overlaps",
    "parse_manifest",
    "read_manifest",
    "read_rows",
    "scan_manifest",
    "validate_manifest",
]

_SHOWN_FAULTS = 100
_KEPT_FAULTS = 10_000
_SHOWN_CHARACTERS = 120


class ManifestInvalid(ArchiveError):
    """A manifest with faults; `faults` holds all of them as plain values, the message the first."""

    def __init__(self, uri: str, faults: Iterable[Fault]) -> None:
        found = list(faults)
        lines = [f"  {fault}" for fault in found[:_SHOWN_FAULTS]]
        if more := len(found) - len(lines):
            lines.append(f"  and {more} more")
        count = "1 fault" if len(found) == 1 else f"{len(found)} faults"
        self.text = "\n".join([f"manifest {uri}: {count}; nothing was started", *lines])
        self.faults = [fault._asdict() for fault in found]
        super().__init__(self.text)
        self.args = (uri, found)  # what pickle passes to a new one

    @property
    def message(self) -> str:
        """One line for the manifest and one for each fault."""
        return self.text


def read_manifest(uri: str, out: str | None = None) -> list[Clip]:
    """Return the clips of a manifest. Raises ManifestInvalid with every fault."""
    format_of(uri)
    return read_rows(uri, storage.read_bytes(uri), out)


def read_rows(uri: str, data: bytes, out: str | None = None) -> list[Clip]:
    """Return the clips of a manifest whose bytes are at hand. Raises ManifestInvalid.

    With `out`, an original in the place of the output is a fault as well: see `overlaps`.

    `expected_fps` is a ratio, sources are absolute, and a clip with a `checksum` has its
    `checksum_algo`.
    """
    rows, faults = inspect_rows(uri, data, out)
    if errors := [fault for fault in faults if fault.severity == "error"]:
        raise ManifestInvalid(uri, errors)
    return rows


def inspect_manifest(uri: str) -> tuple[list[Clip], list[Fault]]:
    """Return rows and faults, warnings among them; no rows where there are errors."""
    format_of(uri)
    return inspect_rows(uri, storage.read_bytes(uri))


def inspect_rows(uri: str, data: bytes, out: str | None = None) -> tuple[list[Clip], list[Fault]]:
    """`inspect_manifest` of bytes at hand."""
    table, faults = parse(data, format_of(uri))
    if not any(fault.row == 0 for fault in faults):  # else there is no table to look at
        faults += validate_manifest(table)
    if any(fault.severity == "error" for fault in faults):
        return [], sorted(faults, key=lambda fault: fault.row)
    folder = _folder(uri)
    numbered = _numbered(table, folder)
    if found := list(_place_faults(numbered, out)):
        return [], [*faults, *found]
    return [row for _, row in numbered], faults


def scan_manifest(stream: BinaryIO, uri: str, out: str | None = None) -> Iterator[list[Clip]]:
    """Yield the rows of a manifest in parts: with every fault known, as if it were read whole.

    The stream is read twice, once for the faults and once for the rows, so nothing is handed out of
    a manifest that has any. Raises ManifestInvalid, with the first faults if they are very many.
    """
    faults = list(itertools.islice(_stream_faults(stream, uri, out), _KEPT_FAULTS))
    if faults:
        raise ManifestInvalid(uri, sorted(faults, key=lambda fault: fault.row))
    stream.seek(0)
    folder = _folder(uri)
    for table, _ in batches(stream, format_of(uri)):
        yield [_typed(cells, folder) for _, cells in _cells(table)]


def _stream_faults(stream: BinaryIO, uri: str, out: str | None) -> Iterator[Fault]:
    """Yield the errors of a manifest. What is kept of every row is its clip_id."""
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
    """Return where the relative addresses of a manifest start."""
    return _plain(uri).rsplit("/", 1)[0]


def parse_manifest(data: bytes, format: Format) -> pa.Table:
    """Return a manifest's bytes as a table of text with row numbers. Raises ManifestInvalid."""
    table, faults = parse(data, format)
    if faults:
        raise ManifestInvalid(f"({format})", faults)
    return table


def validate_manifest(table: pa.Table) -> list[Fault]:
    """Return every fault of a table, in the order of its rows.

    The table may come from `parse_manifest`, with its row numbers, or from any reader: then rows
    count from 1.
    """
    table, faults = as_text(table)
    names = [name for name in table.column_names if name != ROW]
    faults += [
        Fault(0, name, None, "is not a column of the schema; it is ignored", "warning")
        for name in names
        if name not in COLUMNS
    ]
    if not len(table):
        faults.append(Fault(0, "", None, "has no rows", "warning"))
    faults += _cell_faults(table)
    faults += _checksum_faults(table)
    faults += _duplicates(table)
    return sorted(faults, key=lambda fault: fault.row)


def _numbered(table: pa.Table, folder: str) -> list[tuple[int, Clip]]:
    return [(number, _typed(cells, folder)) for number, cells in _cells(table)]


def _place_faults(numbered: list[tuple[int, Clip]], out: str | None) -> Iterator[Fault]:
    """Yield sources that lie where none may: outside the places allowed, or with the output."""
    places = allowlist.allowed()
    for number, row in numbered:
        for column in URI_COLUMNS:
            uri = getattr(row, column)
            if uri is not None and uri not in places:
                sentence = f"lies outside the places that {allowlist.VARIABLE} allows"
                yield Fault(number, column, _shown(uri), sentence)
    if out is not None:
        yield from overlaps(numbered, out)


def _cell_faults(table: pa.Table) -> Iterator[Fault]:
    """Yield what the schema finds in single cells; one fault for a cell, with all it breaks."""
    numbers = table[ROW].to_pylist()
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row, column, sentence in breaches(table):
        if row is None:
            yield Fault(0, column, None, sentence)
        else:
            found[row, column].append(sentence)
    for (index, column), sentences in found.items():
        value = _shown(table[column][index].as_py(), sentences)
        yield Fault(numbers[index], column, value, "; ".join(sentences))


def _checksum_faults(table: pa.Table) -> Iterator[Fault]:
    """Yield checksums whose length is not the algorithm's, and algorithms without a checksum."""
    for number, cells in _cells(table):
        checksum, algorithm = cells.get("checksum"), cells.get("checksum_algo")
        if checksum is None:
            if algorithm is not None:
                yield Fault(number, "checksum", None, "is empty, but checksum_algo is given")
            continue
        digits = CHECKSUM_DIGITS.get((algorithm or "").lower())
        if digits and len(checksum) != digits:
            sentence = f"has {len(checksum)} digits, {algorithm} has {digits}"
            yield Fault(number, "checksum", _shown(checksum), sentence)
        elif algorithm is None and len(checksum) not in CHECKSUM_DIGITS.values():
            allowed = " or ".join(f"{n} ({name})" for name, n in CHECKSUM_DIGITS.items())
            sentence = f"has {len(checksum)} digits, not {allowed}"
            yield Fault(number, "checksum", _shown(checksum), sentence)


def _duplicates(table: pa.Table) -> Iterator[Fault]:
    """Yield every clip_id that an earlier row has, also in other case: outputs would collide."""
    if "clip_id" not in table.column_names:
        return
    table = table.filter(pc.is_valid(table["clip_id"]))
    lowered = pc.utf8_lower(table["clip_id"]).combine_chunks().dictionary_encode()
    _, first, codes = np.unique(lowered.indices, return_index=True, return_inverse=True)
    numbers = table[ROW].to_numpy()
    for index in np.flatnonzero(first[codes] != np.arange(len(codes))):
        sentence = f"is the clip_id of row {numbers[first[codes[index]]]} already"
        clip = table["clip_id"][int(index)].as_py()
        yield Fault(int(numbers[index]), "clip_id", _shown(clip), sentence)


def _cells(table: pa.Table) -> Iterator[tuple[int, Cells]]:
    for row in table.to_pylist():
        yield int(row.pop(ROW)), row


def _shown(value: str | None, sentences: Iterable[str] = ()) -> str | None:
    """Return a value as a message may show it: not too long, and never with credentials."""
    if value is None or any("credentials" in sentence for sentence in sentences):
        return None
    return value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"


def _typed(cells: Cells, folder: str) -> Clip:
    """Return a faultless row with its types."""
    row = {name: cells.get(name) for name in COLUMNS}
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
    return Clip.from_dict(row)


def _absolute(uri: str, folder: str) -> str:
    """Return an address that means the same everywhere; a relative path starts at `folder`."""
    if uri.startswith(("s3://", "file://")):
        return uri
    plain = os.path.normpath(uri)
    return plain if uri.startswith("/") else storage.join(folder, plain)


def _plain(uri: str) -> str:
    """Return an object's address as it is, and any other as an absolute path."""
    return uri if storage.is_s3(uri) else os.path.abspath(storage.local_path(uri))
