"""The command summary."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out, Webhook


class SummaryFormat(StrEnum):
    """The form in which the summary is printed."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


def summary(
    out: Out,
    form: Annotated[
        SummaryFormat, typer.Option("--format", help="Form of the printed summary.")
    ] = SummaryFormat.TEXT,
    webhook: Webhook = None,
    as_json: Json = False,
) -> None:
    """Sum up the newest run, for a mail or a webhook.

    Says how many clips are ready, names the clips that did not end well for the first time, counts
    those known from earlier runs, and gives the address of the report.

    \b
    Example:
        archive-restore summary --out restored --format html
    """
    from jobs.monitor.summary import describe, markup, message, read_summary
    from jobs.monitor.webhook import post

    facts = read_summary(out)
    if webhook is not None:
        post(webhook, message(facts))
    if as_json or form is SummaryFormat.JSON:
        output.emit(facts)
    else:
        output.say(describe(facts) if form is SummaryFormat.TEXT else markup(facts))
