"""Check a manifest: every fault of its cells, rows and addresses."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources import allowlist
from pipeline.sources.allowlist import URI_COLUMNS, Original, overlaps
from pipeline.sources.formats import ROW, ManifestFault
from schemas.manifest import CHECKSUM_DIGITS, COLUMNS
from schemas.manifest_model import breaches

_SHOWN_CHARACTERS = 120
NO_ROWS = ManifestFault(0, "", None, "has no rows", "warning")


def table_faults(table: pa.Table) -> list[ManifestFault]:
    """Every fault and warning of a table of text with row numbers, in the order of its rows."""
    faults = unknown_columns(table)
    if not len(table):
        faults.append(NO_ROWS)
    faults += [*part_faults(table), *duplicates(table)]
    return sorted(faults, key=lambda fault: fault.row)


def unknown_columns(table: pa.Table) -> list[ManifestFault]:
    """A warning for every column that the schema does not have."""
    return [
        ManifestFault(0, name, None, "is not a column of the schema and is ignored", "warning")
        for name in table.column_names
        if name not in COLUMNS and name != ROW
    ]


def part_faults(table: pa.Table) -> list[ManifestFault]:
    """Every fault of single rows, in a part of a manifest."""
    return [*_cell_faults(table), *_checksum_faults(table)]


def place_faults(
    originals: Iterable[tuple[int, Original]], out: str | None
) -> Iterator[ManifestFault]:
    """Yield a fault for every source outside of the allowed places, or in the output."""
    places, numbered = allowlist.allowed(), list(originals)
    for number, row in numbered if places.places is not None else ():
        for column in URI_COLUMNS:
            uri = getattr(row, column)
            if uri is not None and uri not in places:
                sentence = f"lies outside of the places in {allowlist.VARIABLE}"
                yield ManifestFault(number, column, _shown(uri), sentence)
    if out is not None:
        yield from overlaps(numbered, out)


def duplicates(table: pa.Table) -> Iterator[ManifestFault]:
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
    given = {"checksum", "checksum_algo"} & set(table.column_names)
    if all(table[name].null_count == len(table) for name in given):
        return
    numbers, checksums, algorithms = (
        table[name].to_pylist() if name in table.column_names else [None] * len(table)
        for name in (ROW, "checksum", "checksum_algo")
    )
    for number, checksum, algorithm in zip(numbers, checksums, algorithms, strict=True):
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


def _shown(value: str | None, sentences: Iterable[str] = ()) -> str | None:
    """A value for a message: shortened, and None if it holds credentials."""
    if value is None or any("credentials" in sentence for sentence in sentences):
        return None
    return value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"
