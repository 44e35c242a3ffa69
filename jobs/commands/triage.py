"""The command triage: what is damaged in the clips of a manifest, before anything is restored."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Manifest, Recipes
from pipeline.clip.clip import Clip

FAULTS_EXIT = 3


def triage(
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="A built-in recipe, or a TOML file.")] = "film",
    recipes: Recipes = None,
    as_json: Json = False,
) -> None:
    """Say what is damaged in every shot; restore nothing.

    Shots are clean or damaged, and by what: scratches, dirt, dropout, flicker, noise,
    macroblocking; or they are no picture: flat, bars, slate. A clip that cannot be read has its
    reason.

    \b
    Example:
        archive-restore triage manifest.csv
    """
    from models.restorer import Restorer
    from pipeline.sources.manifest import read_manifest
    from schemas.recipe_book import load_book

    book, rows = load_book(recipe, recipes), read_manifest(manifest)
    chosen = [book.of(row.recipe, row.collection) for row in rows]
    restorers: dict[str, Restorer] = {}
    clips = []
    with tempfile.TemporaryDirectory(prefix="ar-triage-") as folder:
        for row, own in zip(rows, chosen, strict=True):
            model = own.model
            if model not in restorers:
                restorers[model] = Restorer(model)
            clips.append(_clip(row, own, restorers[model], Path(folder)))
            if not as_json:
                output.say(_described(clips[-1]))
    code = FAULTS_EXIT if any("reason" in clip for clip in clips) else 0
    if as_json:
        output.emit({"clips": clips, "exit_code": code})
    raise typer.Exit(code)


def _clip(row: Clip, recipe: Any, restorer: Any, folder: Path) -> dict[str, Any]:  # noqa: ANN401
    from pipeline.plan.triage import triage as shots_of
    from pipeline.store import cache
    from schemas.errors import ClipFault

    clip: dict[str, Any] = {"clip_id": row.clip_id}
    try:
        shots = shots_of(row, recipe, folder, restorer)
    except ClipFault as fault:
        return clip | {"kind": "unknown", "reason": str(fault.reason), "sentence": fault.sentence}
    finally:
        cache.discard(row.source_uri, folder)
    damage = list(dict.fromkeys(word for shot in shots for word in shot.damage))
    listed = [
        {
            "start": shot.start, "stop": shot.stop, "seconds": round(shot.seconds, 3),
            "kind": shot.kind, "damage": list(shot.damage),
        }
        for shot in shots
    ]  # fmt: skip
    return clip | {"kind": "damaged" if damage else "clean", "damage": damage, "shots": listed}


def _described(clip: dict[str, Any]) -> str:
    if "reason" in clip:
        return f"{clip['clip_id']}: {clip['reason']}: {clip['sentence']}\n"
    rows = [shot | {"damage": ", ".join(shot["damage"])} for shot in clip["shots"]]
    return f"{clip['clip_id']}: {clip['kind']}\n{output.table(rows)}\n"
