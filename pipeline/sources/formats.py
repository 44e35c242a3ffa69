"""Parse the bytes of a manifest (CSV, JSON or Parquet) into a table of strings and row numbers.

Rows keep their order, and the number that a person sees. In CSV that is the row of the spreadsheet
(the header is row 1), in JSON Lines the line, in Parquet and in a JSON array the position from 1.
"""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any, BinaryIO, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import storage
from schemas.errors import ArchiveError, ClipFault

Format = Literal["csv", "json", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
ROW = "#row"  # the column with the row numbers; a column of the manifest with this name is ignored
MAX_ROWS = 1_000_000
BATCH_ROWS = 10_000  # rows in memory at once, if a manifest is read in parts
_MAX_CELL = 1_000_000  # characters

Cells = dict[str, str | None]


class ManifestFault(NamedTuple):
    """One fault of a manifest. Row 0 stands for a whole column or the file."""

    row: int
    column: str
    value: str | None
    sentence: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"row {self.row}" if self.row else "manifest"
        name = self.column if self.column.isprintable() else repr(self.column)
        column = f", {name}" if name else ""
        value = f" {self.value!r}" if self.value is not None else ""
        return f"{place}{column}{value}: {self.sentence}"


class _Reading:
    """The rows and faults read so far and not yet taken."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.names: dict[str, None] = {}  # in order of appearance
        self.header: dict[str, int] = {}  # with it, the rows are records: the place of each name
        self.faults: list[ManifestFault] = []
        self._rows: list[Any] = []
        self._count = 0

    def add(self, number: int, cells: Cells) -> None:
        self.names.update(dict.fromkeys(cells))
        self.add_record(number, cells)

    def add_record(self, number: int, record: list[str] | Cells) -> None:
        if self._count >= MAX_ROWS:
            raise ArchiveError(f"a manifest has at most {MAX_ROWS} rows: split it")
        self._count += 1
        self.numbers.append(number)
        self._rows.append(record)

    def fault(self, row: int, column: str, sentence: str, value: str | None = None) -> None:
        self.faults.append(ManifestFault(row, column, value, sentence))

    def take(self) -> tuple[pa.Table, list[ManifestFault]]:
        """The rows and faults since the last call."""
        columns = {
            name: pa.array(self._column(name), pa.string()) for name in self.names if name != ROW
        }
        table = pa.table({ROW: pa.array(self.numbers, pa.int64()), **columns})
        faults, self.numbers, self.faults, self._rows = self.faults, [], [], []
        return table, faults

    def _column(self, name: str) -> list[str | None]:
        if not self.header:
            return [cells.get(name) for cells in self._rows]
        place = self.header[name]
        return [_blank_as_none(record[place]) for record in self._rows]


def format_of(uri: str) -> Format:
    """The format of a manifest by its extension. Raises ArchiveError for another extension."""
    for suffix, format in FORMATS.items():
        if uri.lower().endswith(suffix):
            return format
    raise ArchiveError(f"manifest {uri}: its name must end in one of {', '.join(FORMATS)}")


def parse(uri: str, data: bytes | None = None) -> tuple[pa.Table, list[ManifestFault]]:
    """The manifest as a table of text with row numbers, and the faults of its syntax.

    It is read from `uri` unless its `data` are given. The extension of `uri` is its format. Raises
    ArchiveError for another extension, before anything is read, and for a file that cannot be read.
    """
    format_of(uri)
    content = data
    if content is None:
        with readable(uri):
            content = storage.read_bytes(uri)
    return next(batches(io.BytesIO(content), uri, MAX_ROWS + 1))


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Turn the fault of a manifest that cannot be read into ArchiveError: nothing was started."""
    try:
        yield
    except ClipFault as fault:
        raise ArchiveError(
            f"manifest {uri} cannot be read: {fault.sentence}; nothing was started"
        ) from fault


def batches(
    stream: BinaryIO, uri: str, rows: int = BATCH_ROWS
) -> Iterator[tuple[pa.Table, list[ManifestFault]]]:
    """Yield what `parse` returns, in parts of some rows. The last part may be empty.

    Memory holds one part. A manifest that is one JSON array is an exception: it is read whole.
    """
    reading = _Reading()
    for _ in _READERS[format_of(uri)](stream, reading):
        if len(reading.numbers) >= rows:
            yield reading.take()
    yield reading.take()


def _lines(stream: BinaryIO, reading: _Reading, newline: str) -> Iterator[str]:
    """Yield lines with their line ends, up to the first line that is not UTF-8."""
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline=newline)
    try:
        for number, line in enumerate(text, start=1):
            try:
                line.isascii() or line.encode()
            except UnicodeEncodeError:
                sentence = f"line {number} is not UTF-8 text; save the manifest as UTF-8"
                reading.fault(0, "", sentence)
                return
            yield line
    finally:
        text.detach()


def _read_csv(stream: BinaryIO, reading: _Reading) -> Iterator[None]:
    lines = _lines(stream, reading, newline="")
    head = next(lines, "")
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(_MAX_CELL)
    records = csv.reader(itertools.chain([head], lines), delimiter=delimiter, strict=True)
    names: list[str] = []
    number = 0
    try:
        for number, record in enumerate(records, start=1):
            if number == 1:
                names = _header(record, reading)
            elif any(record):
                if len(record) != len(names):
                    _fill_up(reading, number, names, record)
                reading.add_record(number, record)
                yield
    except csv.Error as error:
        reading.fault(number + 1, "", f"is not CSV: {error}")
    if not head:
        reading.fault(0, "", "is empty")


def _header(record: list[str], reading: _Reading) -> list[str]:
    """Take and return the names of the columns. Of two with one name, the last counts."""
    names = [name.strip() for name in record]
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and name:
            reading.fault(1, name, "the column appears more than once")
    reading.header = {name: place for place, name in enumerate(names)}
    reading.names.update(dict.fromkeys(name for name in names if name))
    return names


def _fill_up(reading: _Reading, number: int, names: list[str], record: list[str]) -> None:
    """Give a record of another length the cells that it lacks, and report it."""
    if len(record) < len(names) or any(cell.strip() for cell in record[len(names) :]):
        reading.fault(number, "", f"has {len(record)} cells, the header has {len(names)}")
    for name in names[len(record) :]:
        first = names.index(name)  # the same place, unless the name appears twice
        record.append(record[first] if first < len(record) else "")


def _read_json(stream: BinaryIO, reading: _Reading) -> Iterator[None]:
    for number, item in _json_items(_lines(stream, reading, newline="\n"), reading):
        if isinstance(item, _Pairs):
            _add_values(reading, number, item.checked(number, reading))
        else:
            reading.fault(number, "", "is not a JSON object")
        yield


class _Pairs(list[tuple[str, object]]):
    """The pairs of a JSON object. A repeated key is still visible."""

    def checked(self, number: int, reading: _Reading) -> dict[str, object]:
        values = dict(self)
        if len(values) < len(self):
            keys = [key for key, _ in self]
            for key in sorted({key for key in keys if keys.count(key) > 1}):
                reading.fault(number, key, "the key appears more than once")
        return values


def _json_items(lines: Iterator[str], reading: _Reading) -> Iterator[tuple[int, object]]:
    """Yield number and value of every line, or of every element of a single array."""
    first = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        first = first or number
        if first == number and line.lstrip().startswith("["):
            text = "\n" * (number - 1) + line + "".join(lines)
            yield from _json_array(text, reading)
            return
        try:
            yield number, json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            reading.fault(number, "", f"is not JSON: {error}")
    if not first and not reading.faults:
        reading.fault(0, "", "is empty")


def _json_array(text: str, reading: _Reading) -> Iterator[tuple[int, object]]:
    try:
        yield from enumerate(json.loads(text, object_pairs_hook=_Pairs), start=1)
    except (ValueError, RecursionError) as error:
        reading.fault(getattr(error, "lineno", 1), "", f"is not JSON: {error}")


def _read_parquet(stream: BinaryIO, reading: _Reading) -> Iterator[None]:
    try:
        file = pq.ParquetFile(stream)
        if file.metadata.num_rows > MAX_ROWS:
            raise ArchiveError(f"a manifest has at most {MAX_ROWS} rows: split it")
        names = file.schema_arrow.names
        yield from _add_batches(reading, names, file.iter_batches(BATCH_ROWS))
    except (pa.ArrowException, OSError) as error:
        reading.fault(0, "", f"is not Parquet: {error}")


def _add_batches(
    reading: _Reading, names: list[str], parts: Iterable[pa.RecordBatch]
) -> Iterator[None]:
    reading.names.update(dict.fromkeys(names))
    for number, row in enumerate((row for part in parts for row in part.to_pylist()), start=1):
        _add_values(reading, number, row)
        yield


def _add_values(reading: _Reading, number: int, values: dict[str, object]) -> None:
    cells: Cells = {}
    for name, value in values.items():
        if not _encodes(name):
            reading.fault(number, ascii(name), "holds half of a character (a single surrogate)")
        elif isinstance(value, str) and not _encodes(value):
            reading.fault(number, name, "holds half of a character (a single surrogate)")
            cells[name] = None
        elif isinstance(value, list | dict | bytes):
            reading.fault(number, name, "is not a single value")
            cells[name] = None
        else:
            cells[name] = _text(value)
    reading.add(number, cells)


def _text(value: object) -> str | None:
    """A typed value as text, as a person would write it into a CSV file."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return _blank_as_none(str(value))


def _encodes(text: str) -> bool:
    """Whether a text can be encoded. JSON can hold single surrogates, which cannot."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _blank_as_none(text: str) -> str | None:
    return text if text and not text.isspace() else None


_READERS: dict[Format, Callable[[BinaryIO, _Reading], Iterator[None]]] = {
    "csv": _read_csv,
    "json": _read_json,
    "parquet": _read_parquet,
}
