"""The command plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import output
from jobs.console.options import Json, Manifest, Out, RecipeName, Recipes

if TYPE_CHECKING:
    from jobs.console.progress import StepLines
    from pipeline.plan.plan import Decision

Row = dict[str, Any]


def plan(
    manifest: Manifest,
    out: Out,
    recipe: RecipeName = "film",
    recipes: Recipes = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of GPUs or cores; default: as in the last run, or here."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with a table [prices].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Forecast a run; write nothing.

    Each clip gets an action: run, up to date, quarantined, refused or held. Time and size have a
    low, a likely and a high figure. They come from earlier runs in OUT, or from a trial of a few
    frames on this machine.

    \b
    Example:
        archive-restore plan manifest.csv --out restored
    """
    from jobs.console.progress import StepLines
    from jobs.monitor.forecast import load_prices, totals
    from pipeline.plan.plan import RunPlan
    from pipeline.sources.manifest import opened_manifest, stream_manifest
    from schemas.recipe_book import load_book

    tariff = load_prices(prices)
    work = RunPlan(out, load_book(recipe, recipes))
    show = _print_json if as_json else _print_text
    warnings, steps = output.Warnings(as_json), StepLines(as_json)
    steps.begin(f"reading {manifest}")
    with opened_manifest(manifest) as stream:
        parts = stream_manifest(stream, manifest, out, warnings.add)
        decisions = (decision for rows in parts for decision in work.add(rows))
        show(
            _counted(decisions, steps),
            lambda: totals(work, out, workers, tariff, steps.begin) | {"warnings": warnings.found},
        )


def _counted(decisions: Iterator[Decision], steps: StepLines) -> Iterator[Row]:
    for number, decision in enumerate(decisions, start=1):
        steps(f"{number} clips decided")
        yield decision.to_dict()


def _print_json(clips: Iterator[Row], totals: Callable[[], Row]) -> None:
    """Print one JSON object on one line, clip by clip: a manifest may have a million clips."""
    write, separator = sys.stdout.write, '{"decisions": ['
    as_json = json.JSONEncoder(ensure_ascii=False).encode  # a decision holds only texts
    first = next(clips, None)  # a fault of the manifest is raised before anything is printed
    for clip in () if first is None else chain([first], clips):
        write(separator + as_json(clip))
        separator = ", "
    write(separator if first is None else "")
    with output.quiet_stdout(True):
        found = totals()
    write("], " + output.as_json(found)[1:] + "\n")


def _print_text(clips: Iterator[Row], totals: Callable[[], Row]) -> None:
    """Print the forecast for a person, with the first clips that will not run."""
    from jobs.monitor.forecast import describe

    others = (clip for clip in clips if clip["action"] != "run")
    shown = list(islice(others, output.LISTED))
    more = sum(1 for _ in others)
    found = totals()
    if shown:
        output.say(output.table(shown, ("clip_id", "action", "reason", "sentence")))
        output.say(f"and {more} more that will not run\n" if more else "")
    output.say(describe(found))
