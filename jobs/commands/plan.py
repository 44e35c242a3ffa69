"""The command plan: what a run would do and what it would take, before it is started."""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from jobs.console import output
from jobs.console.options import Json, Manifest, Out, Recipes
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from pipeline.plan.estimate import Band, Cost
    from pipeline.plan.plan import RunPlan

SHOWN = 20  # clips that will not run, named one by one for a person
NIGHTS = 10  # runs back that are looked at
# What each of the last runs took, by recipe; a clip's share of its run by the time of its stages.
HISTORY = f"""
WITH nights AS (
    SELECT run, device, workers, seconds FROM runs
    WHERE sessions = 1 AND workers > 0 AND seconds > 0 AND device IS NOT NULL
    ORDER BY run DESC LIMIT {NIGHTS}
), worked AS (
    SELECT run, recipe_sha256, model, frames * (width * height / 1e6) AS work,
        seconds_total AS took, output_uri
    FROM clips WHERE state = 'published' AND frames > 0 AND seconds_total > 0
)
SELECT run, recipe_sha256, model, device, workers, count(*) AS clips, sum(work) AS work,
    sum(took) AS took, regr_slope(took, work) AS slope,
    seconds * workers * sum(took) / sum(sum(took)) OVER (PARTITION BY run) AS worker_seconds,
    arg_max(output_uri, work) AS output_uri, max(work) AS output_work
FROM nights JOIN worked USING (run)
GROUP BY run, recipe_sha256, model, device, workers, seconds
ORDER BY run DESC
"""
PRICES = ("cpu_hour", "gpu_hour", "output_gb_month")

Row = dict[str, Any]


def plan(
    manifest: Manifest,
    out: Out,
    recipe: Annotated[str, typer.Option(help="A built-in recipe, or a TOML file.")] = "film",
    recipes: Recipes = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs or cores; default: those of the last run, or here."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML with a table [prices].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run would do and take; write nothing.

    Every clip runs, is up to date, quarantined, refused or held. Time and size come from runs
    before in OUT, or from a trial of a few frames on this machine, with a low and a high figure.

    \b
    Example:
        archive-restore plan manifest.csv --out restored
    """
    from pipeline.plan.plan import RunPlan
    from pipeline.sources.manifest import stream_manifest
    from pipeline.store.storage import opened
    from schemas.recipe_book import load_book

    tariff = load_prices(prices)
    work = RunPlan(out, load_book(recipe, recipes))
    tell = _stream_json if as_json else _tell
    with opened(manifest) as stream:
        decisions = (d for rows in stream_manifest(stream, manifest, out) for d in work.add(rows))
        tell(
            (decision.to_dict() for decision in decisions),
            lambda: totals(work, out, workers, tariff),
        )


def totals(work: RunPlan, out: str, workers: int | None, prices: Mapping[str, Any]) -> Row:
    """What the decisions add up to, and what the run would take."""
    from pipeline.plan.estimate import NOTHING, Band
    from pipeline.plan.trial import devices

    device, count = devices()
    with tempfile.TemporaryDirectory(prefix="ar-plan-") as folder:
        strata = work.strata(Path(folder))
        history = _history(out) if strata else []
        if history:
            device, count = str(history[0]["device"]), int(history[0]["workers"])
        count = workers or count
        frames, seconds, size, basis = NOTHING, NOTHING, NOTHING, set()
        costs: dict[str, Cost | None] = {}
        for stratum in strata:
            digest = stratum.recipe.digest
            if digest not in costs:
                costs[digest] = _cost(work, history, stratum.recipe, device, Path(folder))
            amount = stratum.total(lambda s: s.megapixel_frames)
            frames += stratum.total(lambda s: s.frames)
            if cost := costs[digest]:
                seconds += cost.of(stratum.readable, amount)
                size += (amount * cost.bytes_per_megapixel_frame).widened(cost.spread)
                basis.add(cost.basis)
        start = sum(cost.start_seconds for cost in costs.values() if cost) * count
        seconds += Band(start, start, start)
    figures = _figures(frames, seconds, size, device, count, prices)
    known = bool(basis) or not strata
    counts = {"clips": dict(work.counts), "reasons": dict(work.reasons)}
    return {**counts, "basis": sorted(basis), "workers": count, "device": device,
            **(figures if known else dict.fromkeys(figures))}  # fmt: skip


def _figures(
    frames: Band, seconds: Band, size: Band, device: str, count: int, prices: Mapping[str, Any]
) -> Row:
    hours = seconds * (1 / 3600)
    figures: Row = {
        "frames": frames.rounded, f"{device}_hours": hours.rounded,
        "wall_seconds": (seconds * (1 / count)).rounded, "output_bytes": size.rounded,
    }  # fmt: skip
    if prices:
        cost = hours * float(prices.get(f"{device}_hour", 0))
        cost += size * (float(prices.get("output_gb_month", 0)) / 1e9)
        figures["money"] = {**cost.rounded, "currency": prices.get("currency")}
    return figures


def _history(out: str) -> list[Row]:
    """What runs before took, newest first; nothing where there are no tables."""
    from jobs.console.query import query
    from pipeline.store.storage import folders, join

    if not folders(join(out, "tables")):
        return []
    return cast(list[Row], query(out, HISTORY).to_pylist())


def _cost(work: RunPlan, history: list[Row], recipe: Any, device: str, cache: Path) -> Cost | None:  # noqa: ANN401
    """From runs with this recipe, else with its model, else from a trial."""
    from pipeline.plan.estimate import Night, from_nights
    from pipeline.plan.trial import tried

    same = [row for row in history if row["device"] == device and row["model"] == recipe.model]
    same = [row for row in same if row["recipe_sha256"] == recipe.digest] or same
    if not same:
        return tried(work.samples(recipe.digest), recipe, cache)
    columns = ("clips", "work", "took", "slope", "worker_seconds")
    return from_nights([Night(*(row[name] for name in columns)) for row in same], _density(same))


def _density(rows: list[Row]) -> float:
    """Bytes written for a megapixel-frame, from the largest clip of each run."""
    from pipeline.store.storage import stat
    from schemas.errors import ClipFault

    size, work = 0, 0.0
    for row in rows:
        try:
            size, work = size + stat(row["output_uri"]).size, work + row["output_work"]
        except ClipFault:
            continue
    return size / work if work else 0.0


def load_prices(path: Path | None) -> Mapping[str, Any]:
    """The table [prices] of a file; nothing without one. Raises ArchiveError with every fault."""
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("prices")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArchiveError(f"--prices {path}: cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise ArchiveError(f"--prices {path}: has no table [prices]")
    faults = []
    for key, value in table.items():
        if key not in (*PRICES, "currency"):
            faults.append(f"unknown key {key!r}; allowed: {', '.join((*PRICES, 'currency'))}")
        elif key == "currency" and not isinstance(value, str):
            faults.append(f"currency = {value!r} is not a text")
        elif key != "currency" and (type(value) not in (int, float) or not 0 <= value < 1e9):
            faults.append(f"{key} = {value!r} is not a price")
    if faults:
        raise ArchiveError(f"--prices {path}: " + "; ".join(faults))
    return table


Clips = Iterator[Row]
Totals = Callable[[], Row]


def _stream_json(clips: Clips, totals: Totals) -> None:
    """One JSON object on one line, written as it is found: the clips may be a million."""
    write, separator = sys.stdout.write, '{"decisions": ['
    first = next(clips, None)  # what is wrong with the manifest comes before anything is written
    for clip in () if first is None else chain([first], clips):
        write(separator + output.as_json(clip))
        separator = ", "
    write(separator if first is None else "")
    with output.quiet_stdout(True):
        found = totals()
    write("], " + output.as_json(found)[1:] + "\n")


def _tell(clips: Clips, totals: Totals) -> None:
    """The same for a person."""
    others = (clip for clip in clips if clip["action"] != "run")
    shown = list(islice(others, SHOWN))
    more = sum(1 for _ in others)
    found = totals()
    if shown:
        output.say(output.table(shown, ("clip_id", "action", "reason", "sentence")))
        output.say(f"and {more} more that do not run\n" if more else "")
    output.say(describe(found))


def describe(found: Row) -> str:
    """Totals for a person."""
    counts = ", ".join(f"{n} {action.replace('_', ' ')}" for action, n in found["clips"].items())
    device = found["device"]
    lines = [f"clips: {counts}"]
    if not found["clips"]["run"]:
        return "\n".join([*lines, "nothing to do"])
    if found["frames"] is None:
        return "\n".join([*lines, "no clip of the sample could be tried: no figures"])
    show: dict[str, Callable[[float], str]] = {
        "frames": output.grouped, f"{device}_hours": lambda v: f"{v:.2f}",
        "wall_seconds": output.clock, "output_bytes": lambda v: f"{v / 1e9:.3f} GB",
        "money": lambda v: f"{v:.2f}",
    }  # fmt: skip
    rows = [
        {"figure": name, **{side: text(found[name][side]) for side in ("low", "likely", "high")}}
        for name, text in show.items()
        if found.get(name)
    ]
    units = f"{found['workers']} {device}{'s' * (found['workers'] > 1)}"
    basis = f"measured by {' and '.join(found['basis'])}; wall clock on {units}"
    if money := found.get("money"):
        basis += f"; money in {money['currency'] or 'the unit of the prices'}"
    return "\n".join([*lines, output.table(rows), basis, "nothing was written"])
