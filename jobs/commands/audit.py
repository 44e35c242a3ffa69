"""The command audit verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.exit_codes import ExitCode

app = typer.Typer(help="Check the audit log: who did what, and when.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Check the audit log: who did what, and when."""


@app.command()
def verify(
    out: Out,
    head: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="Hash noted earlier; the log must contain it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every entry of the audit log.

    Names the first entry that was changed, replaced or removed; the exit code is then 3. Entries
    removed from the end are found only with --head: note the printed head in another place.

    \b
    Example:
        archive-restore audit verify --out restored
    """
    from pipeline.runs import audit

    verdict = audit.verify(out, head)
    good = verdict.broken is None and verdict.held
    code = ExitCode.DONE if good else ExitCode.FAULTS
    if as_json:
        output.emit({**asdict(verdict), "exit_code": code})
    elif verdict.broken:
        output.say(
            f"{verdict.broken} {verdict.why}; {verdict.entries} entries before it are unchanged"
        )
    elif not verdict.held:
        output.say(f"no entry has the hash {head}: the log was shortened or rewritten")
    else:
        output.say(f"{verdict.entries} entries unchanged; head {verdict.head}")
    raise typer.Exit(code)
