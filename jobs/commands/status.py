"""The command status."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Out


def status(
    run: Annotated[str | None, typer.Argument(help="Id of the run; default: the newest.")] = None,
    *,
    out: Out,
    as_json: Json = False,
) -> None:
    """Show the progress of a run.

    Counts the clips in each state. For each clip at work it shows the finished shards (the pieces
    that workers restore) and frames.

    \b
    Example:
        archive-restore status --out restored
    """
    from jobs.monitor.status import describe_status, read_status

    state = read_status(out, run)
    output.emit(state) if as_json else output.say(describe_status(state))
