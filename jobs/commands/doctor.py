"""The command doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json


def doctor(
    out: Annotated[
        str | None, typer.Option(metavar="URI", help="Also test the storage of this output folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and an output folder.

    Checks versions, licences, processor, accelerator, memory, disk, weights and storage. Exit code
    1 means that a check failed.

    \b
    Example:
        archive-restore doctor --out s3://bucket/restored
    """
    from jobs.monitor.checks import describe_checks, examine

    checks = examine(out)
    failed = any(check.verdict == "fail" for check in checks)
    if as_json:
        output.emit({"checks": [c.to_dict() for c in checks], "exit_code": int(failed)})
    else:
        output.say(describe_checks(checks))
    raise typer.Exit(int(failed))
