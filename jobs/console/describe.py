"""The meaning of the columns of the tables and of the views."""

from functools import cache

import duckdb

from jobs.console.views import VIEWS, create_views, selected
from schemas.columns import TEXT, Column, Columns
from schemas.tables import PUBLISHED, schema

_DAY: Columns = {"run_date": Column(TEXT, "Day of the run, in UTC: part of the path of its rows.")}


@cache
def described(name: str) -> tuple[dict[str, str], ...]:
    """Column, type, unit and meaning of every column of a table or a view.

    Raises KeyError for another name.
    """
    known = dict(_DAY)
    tables = (name,) if name in PUBLISHED else (*_tables_of(VIEWS[name].sql), "clips", "runs")
    for table in tables:
        known = {**PUBLISHED[table], **known}
    if name in VIEWS:
        known |= VIEWS[name].columns
    return tuple(
        {"column": column, "type": kind.lower(), "unit": known[column].unit,
         "meaning": _meaning(known[column])}
        for column, kind in _columns(name)
    )  # fmt: skip


def _tables_of(sql: str) -> tuple[str, ...]:
    """The tables that a view reads, the first one first."""
    words = sql.split()
    return tuple(word for word in words if word in PUBLISHED and word != "frames")


def _columns(name: str) -> list[tuple[str, str]]:
    """The columns of a table or a view and their types, from empty tables."""
    connection = duckdb.connect(":memory:")
    try:
        for table in PUBLISHED:
            connection.register("empty", schema(table).empty_table())
            made = f"CREATE TABLE {table} AS SELECT *, current_date AS run_date FROM empty"
            connection.execute(made)
        text = selected(name) if name in VIEWS else f"SELECT * FROM {name}"
        create_views(connection, text)
        return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {text}").fetchall()]
    finally:
        connection.close()


def _meaning(column: Column) -> str:
    values = f" One of {', '.join(column.values)}." if column.values else ""
    return column.description.removesuffix(" See below.") + values
