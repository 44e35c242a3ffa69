"""The command query."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError


def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT statement.")] = None,
    out: Out = ".",
    view: Annotated[
        str | None, typer.Option(help="Print one of the program's views instead of a SELECT.")
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV that is safe to open in a spreadsheet.")
    ] = False,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Stop the query after this many seconds.")
    ] = 300.0,
    max_memory: Annotated[
        float, typer.Option(metavar="GB", min=0.1, help="Memory that the query may take, in GiB.")
    ] = 2.0,
    as_json: Json = False,
) -> None:
    """Query the tables of an output folder in SQL.

    DuckDB reads `runs`, `clips`, `shots`, `frames` and `regions`; it can write nothing. The view
    `suspects` has what was left because it may be real. With --csv, an apostrophe precedes a text
    that a spreadsheet would read as a formula. A query that takes more time or memory than its
    limits ends with exit code 2.

    \b
    Example:
        archive-restore query "SELECT clip_id, state FROM clips" --out restored
    """
    from jobs.console.query import VIEWS, QueryLimits
    from jobs.console.query import query as run_query

    if view is not None and view not in VIEWS:
        raise ArchiveError(f"no view {view!r}; the views are: {', '.join(VIEWS)}")
    text = sql if view is None else f"SELECT * FROM {view}"
    if text is None or (sql and view):
        raise ArchiveError("give either one SELECT or --view; views: " + ", ".join(VIEWS))
    rows = run_query(out, text, QueryLimits(max_seconds, max_memory)).to_pylist()
    show = output.csv_lines if as_csv else output.table
    output.emit(rows) if as_json else output.say(show(rows))
