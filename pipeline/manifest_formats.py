"""A manifest's bytes as a table of text: CSV, JSON Lines or Parquet in, strings and row numbers.

Rows keep their order and the number a person sees: in CSV the row of the spreadsheet (the header is
1), in JSON Lines the line, in Parquet and in a JSON array the position from 1.
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ArchiveError

Format = Literal["csv", "json", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
ROW = "#row"  # the column that carries row numbers; a column of that name is read over
MAX_ROWS = 1_000_000
_MAX_CELL = 1_000_000  # characters

Cells = dict[str, str | None]


class Fault(NamedTuple):
    """One fault of a manifest: the row (0 for a whole column or file), the column, the value."""

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
    """Rows as they are read, with the faults met on the way."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Cells]] = []
        self.names: dict[str, None] = {}  # in order of appearance
        self.faults: list[Fault] = []

    def add(self, number: int, cells: Cells) -> None:
        if len(self.rows) >= MAX_ROWS:
            raise ArchiveError(f"a manifest has at most {MAX_ROWS} rows: split it")
        self.names.update(dict.fromkeys(cells))
        self.rows.append((number, cells))

    def fault(self, row: int, column: str, sentence: str, value: str | None = None) -> None:
        self.faults.append(Fault(row, column, value, sentence))

    def table(self) -> pa.Table:
        numbers = pa.array([number for number, _ in self.rows], pa.int64())
        columns = {
            name: pa.array([cells.get(name) for _, cells in self.rows], pa.string())
            for name in self.names
            if name != ROW
        }
        return pa.table({ROW: numbers, **columns})


def format_of(uri: str) -> Format:
    """Return the format by the name's extension. Raises ArchiveError for any other."""
    for suffix, format in FORMATS.items():
        if uri.lower().endswith(suffix):
            return format
    raise ArchiveError(f"manifest {uri}: its name must end in one of {', '.join(FORMATS)}")


def parse(data: bytes, format: Format) -> tuple[pa.Table, list[Fault]]:
    """Return the table of text, with row numbers, and what is wrong with its form."""
    reading = _Reading()
    if format == "parquet":
        _read_parquet(data, reading)
        return reading.table(), reading.faults
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reading.fault(0, "", f"line {line} is not UTF-8 text; save the manifest as UTF-8")
        return reading.table(), reading.faults
    if format == "csv":
        _read_csv(text, reading)
    else:
        _read_json(text, reading)
    return reading.table(), reading.faults


def as_text(table: pa.Table) -> tuple[pa.Table, list[Fault]]:
    """Return a table of any types as text with row numbers, from 1 if it has none."""
    if ROW in table.column_names:
        return table, []
    reading = _Reading()
    _add_table(reading, table)
    return reading.table(), reading.faults


def _read_csv(text: str, reading: _Reading) -> None:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(_MAX_CELL)
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 0
    try:
        for number, record in enumerate(records, start=1):
            if header is None:
                header = _header(record, reading)
            elif any(record):
                _add_record(reading, number, header, record)
    except csv.Error as error:
        reading.fault(number + 1, "", f"is not CSV: {error}")
    if header is None:
        reading.fault(0, "", "is empty")


def _header(record: list[str], reading: _Reading) -> list[str]:
    names = [name.strip() for name in record]
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and name:
            reading.fault(1, name, "the column is there more than once")
    reading.names.update(dict.fromkeys(name for name in names if name))
    return names


def _add_record(reading: _Reading, number: int, header: list[str], record: list[str]) -> None:
    extra = len(record) - len(header)
    if extra < 0 or any(cell.strip() for cell in record[len(header) :]):
        reading.fault(number, "", f"has {len(record)} cells, the header has {len(header)}")
    cells = dict(zip(header, record, strict=False))
    cells.pop("", None)
    reading.add(number, {name: _blank_as_none(cell) for name, cell in cells.items()})


def _read_json(text: str, reading: _Reading) -> None:
    for number, item in _json_items(text, reading):
        if isinstance(item, _Pairs):
            _add_values(reading, number, item.checked(number, reading))
        else:
            reading.fault(number, "", "is not a JSON object")


class _Pairs(list[tuple[str, object]]):
    """A JSON object as it stands in the text, with a key that is there twice still visible."""

    def checked(self, number: int, reading: _Reading) -> dict[str, object]:
        values = dict(self)
        if len(values) < len(self):
            keys = [key for key, _ in self]
            for key in sorted({key for key in keys if keys.count(key) > 1}):
                reading.fault(number, key, "the key is there more than once")
        return values


def _json_items(text: str, reading: _Reading) -> Iterator[tuple[int, object]]:
    """Yield number and value of every line, or of every element of one array."""
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text, object_pairs_hook=_Pairs), start=1)
        except (ValueError, RecursionError) as error:
            reading.fault(getattr(error, "lineno", 1), "", f"is not JSON: {error}")
        return
    if not text.strip():
        reading.fault(0, "", "is empty")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            reading.fault(number, "", f"is not JSON: {error}")


def _read_parquet(data: bytes, reading: _Reading) -> None:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > MAX_ROWS:
            raise ArchiveError(f"a manifest has at most {MAX_ROWS} rows: split it")
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        reading.fault(0, "", f"is not Parquet: {error}")
        return
    _add_table(reading, table)


def _add_table(reading: _Reading, table: pa.Table) -> None:
    reading.names.update(dict.fromkeys(table.column_names))
    batches = table.to_batches(max_chunksize=10_000)
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        _add_values(reading, number, row)


def _add_values(reading: _Reading, number: int, values: dict[str, object]) -> None:
    cells: Cells = {}
    for name, value in values.items():
        if isinstance(value, list | dict | bytes):
            reading.fault(number, name, "is not a single value")
            cells[name] = None
        else:
            cells[name] = _text(value)
    reading.add(number, cells)


def _text(value: object) -> str | None:
    """Return a typed value as a person would write it into a CSV file."""
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


def _blank_as_none(text: str) -> str | None:
    return text if text.strip() else None
