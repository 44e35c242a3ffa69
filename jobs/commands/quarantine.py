"""The commands about clips that did not end well: quarantine list, show, retry."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError

app = typer.Typer(
    help="List, explain and retry the clips that did not end well.", no_args_is_help=True
)

Reasons = Annotated[str | None, typer.Option("--reason", metavar="CODE", help="Of this reason.")]


@app.command("list")
def list_(out: Out, reason: Reasons = None, as_json: Json = False) -> None:
    """List the clips that did not end well.

    Quarantined, failed and held clips of all runs, each with its reason, what happened, what to do
    about it, and the first of the runs in a row that met it.

    \b
    Example:
        archive-restore quarantine list --out restored
    """
    rows = [case.facts() for case in _cases(out, reason)]
    columns = ("clip_id", "state", "reason", "since_run", "runs", "sentence", "next_step")
    output.emit(rows) if as_json else output.say(output.table(rows, columns))


@app.command()
def show(
    clip: Annotated[str, typer.Argument(help="Its clip_id.")], out: Out, as_json: Json = False
) -> None:
    """Show all that is known of one of them.

    Its row, since when it is there, and who attempted to restore which part of it.

    \b
    Example:
        archive-restore quarantine show reel-0042 --out restored
    """
    from pipeline.runs.ledger import Ledger
    from pipeline.runs.quarantine import find

    case = find(out, clip)
    facts: dict[str, Any] = {**case.row, **case.facts()}
    facts["attempts"] = Ledger(out, case.run).attempts(clip)
    if as_json:
        output.emit(facts)
        return
    attempts = facts.pop("attempts")
    known = [{"fact": name, "value": value} for name, value in facts.items() if value is not None]
    output.say(output.table(known))
    output.say("\n" + output.table(attempts) if attempts else "no attempts in this run")


@app.command()
def retry(
    out: Out,
    clips: Annotated[list[str] | None, typer.Argument(help="Their clip_ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reason: Reasons = None,
    as_json: Json = False,
) -> None:
    """Make the next run try clips again.

    A quarantined clip is skipped until then. Nothing is started: run `submit` again.

    \b
    Example:
        archive-restore quarantine retry reel-0042 --out restored
    """
    from pipeline.runs import quarantine

    if bool(clips) == bool(everything or reason):
        raise ArchiveError("name clips, or give --all or --reason CODE")
    names = clips or [case.clip for case in _cases(out, reason)]
    retried = quarantine.retry(out, names)
    text = f"{len(retried)} clips will be tried again by the next `archive-restore submit`"
    output.emit({"retried": retried, "exit_code": 0}) if as_json else output.say(text)


def _cases(out: str, reason: str | None) -> list[Any]:
    from pipeline.runs.quarantine import cases
    from schemas.reasons import Reason

    if reason is not None and reason not in Reason.__members__:
        raise ArchiveError(f"no reason code {reason!r}: see docs/reason-codes.md")
    return [case for case in cases(out) if reason in (None, case.row["reason"])]
