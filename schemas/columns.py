"""The columns of a table. The Arrow schema, the Pandera model and the docs are made from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandera.pyarrow as pap

INTEGER, REAL, TEXT, FLAG = pa.int64(), pa.float64(), pa.string(), pa.bool_()
TIME = pa.timestamp("ms", "UTC")
SHA256 = "[0-9a-f]{64}"


@dataclass(frozen=True)
class Column:
    """One column: type, meaning, unit and bounds. An unknown fact is null."""

    type: pa.DataType
    description: str
    unit: str = ""
    required: bool = False  # True: never null
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    pattern: str = ""


Columns = Mapping[str, Column]

integer = partial(Column, INTEGER, low=0)
real = partial(Column, REAL)
text = partial(Column, TEXT)
flag = partial(Column, FLAG)
time = partial(Column, TIME)


def arrow_schema(columns: Columns) -> pa.Schema:
    """Return the Arrow schema. Description and unit are metadata of each field."""
    fields = []
    for name, column in columns.items():
        notes = {"description": column.description, "unit": column.unit}
        notes = {key: value for key, value in notes.items() if value}
        fields.append(pa.field(name, column.type, nullable=not column.required, metadata=notes))
    return pa.schema(fields)


def with_columns(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Rows that an older code may have written, with the columns of today."""
    missing = pa.nulls(len(rows))
    columns = [rows[field.name] if field.name in rows.column_names else missing for field in wanted]
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, wanted, strict=True)],
        schema=wanted,
    )


def pandera_model(name: str, columns: Columns) -> "pap.DataFrameSchema":
    """Return the Pandera model: these columns only, in this order, within their bounds."""
    import pandera.pyarrow as pap  # slow to import, needed only to write tables

    def model(column: Column) -> "pap.Column":
        checks = []
        if column.low is not None:
            checks.append(pap.Check.ge(column.low))
        if column.high is not None:
            checks.append(pap.Check.le(column.high))
        if column.values:
            checks.append(pap.Check.isin(column.values))
        if column.pattern:
            checks.append(pap.Check.str_matches(f"^(?:{column.pattern})$"))
        return pap.Column(
            column.type, checks, nullable=not column.required, description=column.description
        )

    models = {key: model(column) for key, column in columns.items()}
    return pap.DataFrameSchema(models, strict=True, ordered=True, name=name)
