"""The command query."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 100  # rows of a result that a person reads, unless --limit says otherwise


class Form(StrEnum):
    """The forms of a result."""

    table = "table"
    vertical = "vertical"
    csv = "csv"
    json = "json"
    parquet = "parquet"


FOR_PEOPLE = (Form.table, Form.vertical)


def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT statement.")] = None,
    out: Out = ".",
    view: Annotated[
        str | None, typer.Option(help="Print one of the program's views instead of a SELECT.")
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Print the verdicts that other rules would give."),
    ] = None,
    views: Annotated[bool, typer.Option("--views", help="List the views.")] = False,
    describe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="List type, unit and meaning of a table's columns."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Print at most N rows; 0: all. table and vertical: 100."
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--output", help="Form of the result. CSV is safe in a spreadsheet.")
    ] = Form.table,
    as_csv: Annotated[bool, typer.Option("--csv", help="The same as --output csv.")] = False,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Stop the query after this many seconds.")
    ] = 300.0,
    max_memory: Annotated[
        float, typer.Option(metavar="GB", min=0.1, help="Memory that the query may take, in GiB.")
    ] = 2.0,
    as_json: Json = False,
) -> None:
    """Query the tables of an output folder in SQL.

    DuckDB reads `runs`, `clips`, `shots`, `frames`, `regions`, `findings`, `reviews`
    and `canaries`; it can write nothing. The views: review_queue, last_reviews, latest_clips,
    worst_clips, worst_frames, suspects, largest_repairs, touched_pixels_over, quarantine,
    quarantine_by_reason, never_restored, events, stale_recipes, field_order_disagreements,
    format_census, cost_by_collection, cost_by_model, compare_runs, drift, canary_scores,
    model_history, last_restorations.

    --rules judges the last restoration of each clip by the built-in rules with those of a TOML file
    in their place. It reads the tables alone and changes nothing: limits can be tried before a run.

    If rows were cut, stderr says so. In CSV, an apostrophe precedes a text that a spreadsheet would
    read as a formula. A query that takes more time or memory than its limits ends with exit code 2.

    \b
    Example:
        archive-restore query "SELECT clip_id, state FROM clips" --out restored
    """
    form = Form.json if as_json else Form.csv if as_csv else form
    if views or describe is not None:
        _print_rows(_listing(describe), form)
        return
    from jobs.console.query import QueryLimits
    from jobs.console.query import query as run_query
    from jobs.console.views import VIEWS, selected

    if view is not None and view not in VIEWS:
        raise ArchiveError(f"no view {view!r}; the views are: {', '.join(VIEWS)}")
    asked = [one for one in (sql, view and selected(view), rules and _judged_by(rules)) if one]
    if len(asked) != 1:
        raise ArchiveError("give one SELECT, --view or --rules; views: " + ", ".join(VIEWS))
    (text,) = asked
    most = SHOWN if limit is None and form in FOR_PEOPLE else limit or None
    found = run_query(out, text, QueryLimits(max_seconds, max_memory), most and most + 1)
    if most and len(found) > most:
        found = found.slice(0, most)
        output.log(f"only the first {most} rows are printed; --limit 0 prints all", as_json)
    if form is Form.parquet:
        _write_parquet(found)
    else:
        _print_rows(found.to_pylist(), form)


def _judged_by(path: str) -> str:
    from jobs.console.judging import judged_by
    from schemas.verdict_rules import load_rules, rules_with

    return judged_by(rules_with(load_rules(path)))


def _listing(describe: str | None) -> list[dict[str, str]]:
    """The views, or the columns of a table or a view. Raises ArchiveError for another name."""
    from jobs.console.describe import described
    from jobs.console.views import VIEWS
    from schemas.tables import PUBLISHED

    if describe is None:
        return [{"view": name, "meaning": view.meaning} for name, view in VIEWS.items()]
    if describe not in PUBLISHED and describe not in VIEWS:
        names = ", ".join([*PUBLISHED, *VIEWS])
        raise ArchiveError(f"no table or view {describe!r}; give one of {names}")
    return list(described(describe))


def _print_rows(rows: list[dict[str, object]] | list[dict[str, str]], form: Form) -> None:
    if form is Form.json:
        output.emit(rows)
        return
    show = {Form.csv: output.csv_lines, Form.vertical: output.vertical}.get(form, output.table)
    output.say(show(rows))


def _write_parquet(found: pa.Table) -> None:
    """Write the result to stdout. Raises ArchiveError if that is a terminal."""
    from pipeline.runs.tables import to_parquet

    if sys.stdout.isatty():
        raise ArchiveError("--output parquet writes bytes: send them to a file with > FILE")
    sys.stdout.buffer.write(to_parquet(found))
    sys.stdout.buffer.flush()
