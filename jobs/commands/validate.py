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
    """Check a manifest and list every fault and every warning.

    Each fault is listed with its row and column. A warning names a column that is ignored. Nothing
    is started.

    \b
    Example:
        archive-restore validate manifest.csv
    """
    from pipeline.sources.manifest import read_manifest

    warnings = output.Warnings(as_json)
    rows = read_manifest(manifest, out, warnings.add)
    facts = {"manifest": manifest, "rows": len(rows), "faults": [], "exit_code": 0}
    result = facts | {"warnings": warnings.found}
    output.emit(result) if as_json else output.say(f"{manifest}: {len(rows)} clips, no faults")
