"""The forecast of a run: its time, output size and price, from earlier runs or a trial."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from jobs.console import output
from jobs.console.query import query
from pipeline.clip.clip import Clip
from pipeline.plan import trial
from pipeline.plan.estimate import NOTHING, Band, Cost, Night, from_nights
from pipeline.plan.memory import GIB
from pipeline.plan.plan import RunPlan
from pipeline.store import layout
from pipeline.store.storage import folders, stat
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import MADE
from schemas.recipe import Recipe

NIGHTS = 10  # number of last runs that count
# Time of each of the last runs, by recipe. A clip's share of its run follows its stages' time.
HISTORY = f"""
WITH nights AS (
    SELECT run, device, workers, seconds FROM runs
    WHERE sessions = 1 AND workers > 0 AND seconds > 0 AND device IS NOT NULL
    ORDER BY run DESC LIMIT {NIGHTS}
), worked AS (
    SELECT run, recipe_sha256, model, frames * (width * height / 1e6) AS work,
        seconds_total AS took, output_uri
    FROM clips WHERE state IN {MADE} AND frames > 0 AND seconds_total > 0
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


def totals(
    work: RunPlan,
    out: str,
    workers: int | None,
    prices: Mapping[str, Any],
    step: Callable[[str], None] = lambda sentence: None,
) -> Row:
    """Return the counts of decisions, and the forecast of time, output size and price.

    `step` gets a sentence before each source that is read or tried.
    """
    device, count = trial.devices()
    with tempfile.TemporaryDirectory(prefix="ar-plan-") as folder:
        strata = work.strata(Path(folder), step)
        history = _history(out) if strata else []
        if history:
            device, count = str(history[0]["device"]), int(history[0]["workers"])
        count = workers or count
        frames, seconds, size, basis = NOTHING, NOTHING, NOTHING, set()
        costs: dict[str, Cost | None] = {}
        for stratum in strata:
            digest = stratum.recipe.digest
            if digest not in costs:
                costs[digest] = _cost(work, history, stratum.recipe, device, Path(folder), step)
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
    memory = max((size.memory_bytes for stratum in strata for size in stratum.sizes), default=0)
    found: Row = {**counts, "basis": sorted(basis), "workers": count, "device": device}
    found["worker_memory_bytes"] = memory
    return found | (figures if known else dict.fromkeys(figures))


def _figures(
    frames: Band, seconds: Band, size: Band, device: str, count: int, prices: Mapping[str, Any]
) -> Row:
    hours = seconds * (1 / 3600)
    figures: Row = {
        "frames": frames.rounded,
        f"{device}_hours": hours.rounded,
        "wall_seconds": (seconds * (1 / count)).rounded,
        "output_bytes": size.rounded,
    }
    if prices:
        cost = hours * float(prices.get(f"{device}_hour", 0))
        cost += size * (float(prices.get("output_gb_month", 0)) / 1e9)
        figures["money"] = {**cost.rounded, "currency": prices.get("currency")}
    return figures


def _history(out: str) -> list[Row]:
    """Return the time of earlier runs, newest first; an empty list if there are no tables."""
    if not folders(layout.tables(out)):
        return []
    return cast(list[Row], query(out, HISTORY).to_pylist())


def _cost(
    work: RunPlan,
    history: list[Row],
    recipe: Recipe,
    device: str,
    cache: Path,
    step: Callable[[str], None] = lambda sentence: None,
) -> Cost | None:
    """Return the cost from runs with this recipe, else with its model, else from a trial."""
    same = [row for row in history if row["device"] == device and row["model"] == recipe.model]
    same = [row for row in same if row["recipe_sha256"] == recipe.digest] or same
    if not same:
        step(f"loading the model {recipe.model} for a trial")
        return trial.tried(_shown(work.samples(recipe.digest), recipe, step), recipe, cache)
    columns = ("clips", "work", "took", "slope", "worker_seconds")
    return from_nights([Night(*(row[name] for name in columns)) for row in same], _density(same))


def _shown(clips: Iterable[Clip], recipe: Recipe, step: Callable[[str], None]) -> Iterator[Clip]:
    for clip in clips:
        step(f"trying the recipe {recipe.name} on a few frames of {clip.clip_id}")
        yield clip


def _density(rows: list[Row]) -> float:
    """Return the output bytes of a megapixel-frame, from the largest clip of each run."""
    size, work = 0, 0.0
    for row in rows:
        try:
            size, work = size + stat(row["output_uri"]).size, work + row["output_work"]
        except ClipFault:
            continue
    return size / work if work else 0.0


def load_prices(path: Path | None) -> Mapping[str, Any]:
    """Return the table [prices] of a file; empty without a file.

    Raises ArchiveError, which names every fault.
    """
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("prices")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArchiveError(f"--prices {path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise ArchiveError(f"--prices {path} has no table [prices]")
    faults = []
    for key, value in table.items():
        if key not in (*PRICES, "currency"):
            faults.append(f"unknown key {key!r}; allowed: {', '.join((*PRICES, 'currency'))}")
        elif key == "currency" and not isinstance(value, str):
            faults.append(f"currency = {value!r} is not a text, such as 'EUR'")
        elif key != "currency" and (type(value) not in (int, float) or not 0 <= value < 1e9):
            faults.append(f"{key} = {value!r} is not a price")
    if faults:
        raise ArchiveError(f"--prices {path}: " + "; ".join(faults))
    return table


def describe(found: Row) -> str:
    """Return the forecast as text for a person."""
    counts = ", ".join(f"{n} {action.replace('_', ' ')}" for action, n in found["clips"].items())
    device = found["device"]
    lines = [f"clips: {counts}"]
    if not found["clips"]["run"]:
        return "\n".join([*lines, "nothing to do"])
    if found["frames"] is None:
        return "\n".join([*lines, "no figures: the trial could not read any clip of the sample"])
    show: dict[str, Callable[[float], str]] = {
        "frames": output.grouped,
        f"{device}_hours": lambda v: f"{v:.2f}",
        "wall_seconds": output.clock,
        "output_bytes": lambda v: f"{v / 1e9:.3f} GB",
        "money": lambda v: f"{v:.2f}",
    }
    rows = [
        {"figure": name, **{side: text(found[name][side]) for side in ("low", "likely", "high")}}
        for name, text in show.items()
        if found.get(name)
    ]
    units = f"{found['workers']} {device}{'s' * (found['workers'] > 1)}"
    basis = f"figures from {' and '.join(found['basis'])}; wall_seconds on {units}"
    if money := found.get("money"):
        basis += f"; money in {money['currency'] or 'the currency of the prices'}"
    need = f"the largest frame of the sample needs {found['worker_memory_bytes'] / GIB:.1f} GiB"
    need += " of memory in a worker, or less in tiles"
    return "\n".join([*lines, output.table(rows), basis, need, "nothing was written"])
