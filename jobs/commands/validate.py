"""The command validate."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import output
from jobs.console.options import Json, Manifest


def validate(
    manifest: Manifest,
    out: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Also check that no source file is in this folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a manifest and list every fault.

    Each fault is listed with its row and column. Nothing is started.

    \b
    Example:
        archive-restore validate manifest.csv
    """
    from pipeline.sources.manifest import read_manifest

    rows = read_manifest(manifest, out)
    result = {"manifest": manifest, "rows": len(rows), "faults": [], "exit_code": 0}
    output.emit(result) if as_json else output.say(f"{manifest}: {len(rows)} clips, no faults")
