"""The commands quarantine list, quarantine show, quarantine retry."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Out
from schemas.errors import ArchiveError

app = typer.Typer(
    help="List, explain and retry the clips that did not end well.", no_args_is_help=True
)

ReasonCode = Annotated[
    str | None,
    typer.Option("--reason", metavar="CODE", help="Only clips with this reason code."),
]


@app.command("list")
def list_(out: Out, reason: ReasonCode = None, as_json: Json = False) -> None:
    """List the clips that did not end well.

    Lists the quarantined, failed and held clips of all runs. Each has its reason, a sentence, the
    next step, and the first of the consecutive runs that reported it.

    \b
    Example:
        archive-restore quarantine list --out restored
    """
    rows = [case.facts() for case in _cases(out, reason)]
    columns = ("clip_id", "state", "reason", "since_run", "runs", "sentence", "next_step")
    output.emit(rows) if as_json else output.say(output.table(rows, columns))


@app.command()
def show(
    clip: Annotated[str, typer.Argument(help="clip_id of the clip.")],
    out: Out,
    as_json: Json = False,
) -> None:
    """Show all facts about one clip in quarantine.

    Shows its row, the first run that reported it, and every attempt to survey, to restore or to
    assemble it.

    \b
    Example:
        archive-restore quarantine show reel-0042 --out restored
    """
    from pipeline.runs.ledger import STEPS, Ledger
    from pipeline.runs.quarantine import find

    case = find(out, clip)
    facts: dict[str, Any] = {**case.row, **case.facts()}
    facts["attempts"] = Ledger(out, case.run).attempts(clip)
    if as_json:
        output.emit(facts)
        return
    attempts = [{**a, "shard": STEPS.get(a["shard"], a["shard"])} for a in facts.pop("attempts")]
    known = [{"fact": name, "value": value} for name, value in facts.items() if value is not None]
    output.say(output.table(known))
    output.say("\n" + output.table(attempts) if attempts else "no attempts in this run")


@app.command()
def retry(
    clips: Annotated[list[str] | None, typer.Argument(help="clip_id of each clip.")] = None,
    *,
    out: Out,
    everything: Annotated[bool, typer.Option("--all", help="Retry every clip.")] = False,
    reason: ReasonCode = None,
    as_json: Json = False,
) -> None:
    """Make the next run try clips again.

    A run skips a quarantined clip until you retry it. Nothing is started: run `submit` again.

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
        raise ArchiveError(f"no reason code {reason!r}: docs/reason-codes.md lists them")
    return [case for case in cases(out) if reason in (None, case.row["reason"])]
