"""The command line: one registration for each command. Commands import heavy modules lazily."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from jobs.commands import audit, config, model, monitoring, package, quarantine, schedule
from jobs.commands.doctor import doctor
from jobs.commands.plan import plan
from jobs.commands.query import query
from jobs.commands.report import report
from jobs.commands.revert import compare, recover, revert, review
from jobs.commands.status import status
from jobs.commands.submit import submit
from jobs.commands.summary import summary
from jobs.commands.triage import triage
from jobs.commands.validate import validate
from jobs.console import output
from jobs.console.errors import Commands

app = typer.Typer(
    name="archive-restore",
    cls=Commands,
    help="Restores film and television archives with a video diffusion model on Ray Data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:
    if value:
        output.say(f"archive-restore {importlib.metadata.version('archive-restore')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Restores film and television archives with a video diffusion model on Ray Data."""


app.command()(submit)
app.command()(validate)
app.command()(plan)
app.command()(triage)
app.command()(status)
app.command()(summary)
app.command()(report)
app.command()(query)
app.command()(revert)
app.command()(recover)
app.command()(compare)
app.command()(review)
app.command()(package.package)
app.command()(package.verify)
app.command()(package.policy)
app.command()(package.sign)
app.command()(doctor)
app.command()(model.evaluate)
app.command()(model.train)
app.command()(model.tune)
app.command()(model.demo)
app.add_typer(package.exports, name="export")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(audit.app, name="audit")
app.add_typer(schedule.app, name="schedule")
app.add_typer(monitoring.app, name="monitoring")
app.add_typer(config.app, name="config")
