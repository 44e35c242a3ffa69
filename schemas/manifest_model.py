"""The Pandera model of a manifest that is read as text, and the published JSON Schema."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

import pyarrow as pa

from schemas.manifest import COLUMNS, REQUIRED

if TYPE_CHECKING:
    import pandera.polars as pap


class Breach(NamedTuple):
    """A rule that a cell breaks. `row` is None when the whole column is missing."""

    row: int | None  # position in the table, from 0
    column: str
    sentence: str


def breaches(table: pa.Table) -> list[Breach]:
    """Return every rule that a table of text breaks."""
    import polars as pl  # polars and pandera are slow to import, needed only to check
    from pandera.errors import SchemaErrors

    known = [name for name in table.column_names if name in COLUMNS]
    try:
        _model().validate(cast(pl.DataFrame, pl.from_arrow(table.select(known))), lazy=True)
    except SchemaErrors as errors:
        return [_breach(case) for case in errors.failure_cases.to_dicts()]
    return []


def _breach(case: dict[str, object]) -> Breach:
    """Return one failure case of Pandera as a Breach."""
    if case["check"] == "column_in_dataframe":
        return Breach(None, str(case["failure_case"]), "the column is missing")
    sentence = "is empty" if case["check"] == "not_nullable" else str(case["check"])
    return Breach(cast(int, case["index"]), str(case["column"]), sentence)


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
