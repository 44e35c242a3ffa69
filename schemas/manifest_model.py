"""The Pandera model of a manifest that is read as text, and the published JSON Schema."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.manifest import COLUMNS, REQUIRED, ManifestColumn

if TYPE_CHECKING:
    import pandera.polars as pap


class Breach(NamedTuple):
    """A rule that a cell breaks. `row` is None when the whole column is missing."""

    row: int | None  # position in the table, from 0
    column: str
    sentence: str


def breaches(table: pa.Table) -> list[Breach]:
    """Return every rule that a table of text breaks.

    Pandera sees the rows with a doubtful cell. A manifest of a million rows has few of them.
    """
    known = [name for name in table.column_names if name in COLUMNS]
    doubtful = np.zeros(len(table), bool)
    for name in known:
        doubtful |= _doubtful(table[name].combine_chunks(), COLUMNS[name])
    if not doubtful.any() and set(REQUIRED) <= set(known):
        return []
    import polars as pl  # polars and pandera are slow to import, needed only to check
    from pandera.errors import SchemaErrors

    rows = np.flatnonzero(doubtful)
    frame = cast(pl.DataFrame, pl.from_arrow(table.select(known).take(pa.array(rows))))
    try:
        _model().validate(frame, lazy=True)
    except SchemaErrors as errors:
        return [_breach(case, rows) for case in errors.failure_cases.to_dicts()]
    return []


def _doubtful(cells: pa.Array, column: ManifestColumn) -> NDArray[np.bool_]:
    """Where a cell may break a rule of its column. Each different value is looked at once."""
    encoded = cells.dictionary_encode()
    bad = np.array([not column.surely_accepts(value) for value in encoded.dictionary.to_pylist()])
    codes = encoded.indices.fill_null(len(bad)).to_numpy(zero_copy_only=False)
    found: NDArray[np.bool_] = np.append(bad, column.required).astype(bool)[codes]
    return found


def _breach(case: dict[str, object], rows: NDArray[np.intp]) -> Breach:
    """Return one failure case of Pandera as a Breach. `rows` are its positions in the table."""
    if case["check"] == "column_in_dataframe":
        return Breach(None, str(case["failure_case"]), "the column is missing")
    sentence = "is empty" if case["check"] == "not_nullable" else str(case["check"])
    return Breach(int(rows[cast(int, case["index"])]), str(case["column"]), sentence)


@cache
def _model() -> "pap.DataFrameSchema":
    """Return the model. Each rule is one check, and the rule's sentence is its error."""
    import pandera.polars as pap
    import polars as pl

    columns = {}
    for name, column in COLUMNS.items():
        checks = [
            pap.Check(rule.accepts, element_wise=True, error=rule.sentence) for rule in column.rules
        ]
        columns[name] = pap.Column(
            pl.String,
            checks,
            nullable=not column.required,
            required=column.required,
            description=column.description,
        )
    return pap.DataFrameSchema(columns, strict=False, name="manifest")


def manifest_json_schema() -> dict[str, object]:
    """Return the JSON Schema of one row of a manifest in JSON Lines."""
    properties = {
        name: {"description": column.description, "examples": [column.example], **column.schema}
        for name, column in COLUMNS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A row of an archive-restore manifest",
        "type": "object",
        "properties": properties,
        "required": list(REQUIRED),
        "additionalProperties": True,
    }
