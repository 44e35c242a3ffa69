"""The command triage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Manifest, RecipeName, Recipes
from pipeline.clip.clip import Clip
from schemas.exit_codes import ExitCode

if TYPE_CHECKING:
    from models.restorer import Restorer
    from schemas.recipe import Recipe


def triage(
    manifest: Manifest,
    recipe: RecipeName = "film",
    recipes: Recipes = None,
    as_json: Json = False,
) -> None:
    """List the damage in every shot; restore nothing.

    A shot (the frames between two cuts) is clean, damaged, unsure or not a picture (flat, bars,
    slate). A run leaves clean shots as they are. A damaged shot has the damage: specks, lines,
    flicker, noise, coding, soft, scratches, dirt, dropout. An unsure shot has the reason: short,
    monochrome, interlaced, missing. A clip that cannot be read has a reason code; the exit code is
    then 3. A clip under embargo is held: its source is not read.

    \b
    Example:
        archive-restore triage manifest.csv
    """
    from jobs.console.progress import StepLines
    from pipeline.sources.manifest import read_manifest
    from schemas.recipe_book import load_book

    warnings, steps = output.Warnings(as_json), StepLines(as_json)
    book, rows = load_book(recipe, recipes), read_manifest(manifest, warn=warnings.add)
    chosen = [book.of(row.recipe, row.collection) for row in rows]
    restorers: dict[str, Restorer] = {}
    clips = []
    with tempfile.TemporaryDirectory(prefix="ar-triage-") as folder:
        for number, (row, own) in enumerate(zip(rows, chosen, strict=True), start=1):
            steps.begin(f"clip {number} of {len(rows)}: {row.clip_id}")
            clips.append(_clip(row, own, restorers, Path(folder)))
            if not as_json:
                output.say(_described(clips[-1]))
    faulty = any("reason" in clip and clip["kind"] != "held" for clip in clips)
    code = ExitCode.FAULTS if faulty else ExitCode.DONE
    if as_json:
        output.emit({"clips": clips, "exit_code": code, "warnings": warnings.found})
    raise typer.Exit(code)


def _clip(
    row: Clip, recipe: Recipe, restorers: dict[str, Restorer], folder: Path
) -> dict[str, Any]:
    from models.restorer import Restorer
    from pipeline.plan.triage import triage as shots_of
    from pipeline.runs.order import embargo
    from pipeline.store import cache
    from schemas.errors import ClipFault

    clip: dict[str, Any] = {"clip_id": row.clip_id}
    if held := embargo(row):
        return clip | {"kind": "held", "reason": str(held.reason), "sentence": held.sentence}
    if recipe.model not in restorers:
        restorers[recipe.model] = Restorer(recipe.model)
    try:
        shots = shots_of(row, recipe, folder, restorers[recipe.model])
    except ClipFault as fault:
        return clip | {"kind": "unknown", "reason": str(fault.reason), "sentence": fault.sentence}
    finally:
        cache.discard(row.source_uri, folder)
    damage = list(dict.fromkeys(word for shot in shots for word in shot.damage))
    listed = [
        {
            "start": shot.start,
            "stop": shot.stop,
            "seconds": round(shot.seconds, 3),
            "kind": shot.kind,
            "damage": list(shot.damage),
        }
        for shot in shots
    ]
    kinds = {shot.kind for shot in shots}
    kind = next((kind for kind in ("damaged", "unsure") if kind in kinds), "clean")
    return clip | {"kind": kind, "damage": damage, "shots": listed}


def _described(clip: dict[str, Any]) -> str:
    if "reason" in clip:
        held = "held: " if clip["kind"] == "held" else ""
        return f"{clip['clip_id']}: {held}{clip['reason']}: {clip['sentence']}\n"
    rows = [
        {
            "first frame": shot["start"],
            "last frame": shot["stop"] - 1,
            "begins at (s)": shot["seconds"],
            "kind": shot["kind"],
            "damage": ", ".join(shot["damage"]),
        }
        for shot in clip["shots"]
    ]
    return f"{clip['clip_id']}: {clip['kind']}\n{output.table(rows)}\n"
