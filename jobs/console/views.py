"""The views of `query`, and how DuckDB gets those that a SELECT names."""

import re

import duckdb

from jobs.console.view import View
from jobs.console.views_of_clips import CLIPS
from jobs.console.views_of_runs import RUNS
from schemas.tables import PUBLISHED

VIEWS: dict[str, View] = CLIPS | RUNS


def create_views(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Create the views that a SELECT names, and those that they name. The tables must exist."""
    named = _named(sql)
    for name, view in VIEWS.items():  # a view comes after those that it names
        if name in named:
            macro = f"CREATE MACRO {name}({view.parameters}) AS TABLE {view.sql}"
            connection.execute(macro if view.parameters else f"CREATE VIEW {name} AS {view.sql}")


def tables_named(sql: str) -> set[str]:
    """The tables that a SELECT may read: those that it names, and those of the views it names."""
    texts = [sql, *(VIEWS[name].sql for name in _named(sql))]
    return PUBLISHED.keys() & {word for text in texts for word in _words(text)}


def _named(sql: str) -> set[str]:
    named = VIEWS.keys() & _words(sql)
    return named.union(*(_named(VIEWS[name].sql) for name in named))


def _words(sql: str) -> set[str]:
    return set(re.findall(r"\w+", sql.lower()))


def selected(view: str) -> str:
    """The SELECT of all rows of a view, with the defaults of its parameters."""
    return f"SELECT * FROM {view}" + ("()" if VIEWS[view].parameters else "")
