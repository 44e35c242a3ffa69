"""How far a run is, read from its ledger: under way, broken off, or at its end."""

from __future__ import annotations

from collections import Counter
from typing import cast

from jobs.output import grouped, table
from pipeline import storage
from pipeline.ledger import Ledger, runs
from pipeline.manifest import read_manifest
from pipeline.shards import plan_shards
from pipeline.survey import Survey
from schemas.errors import ArchiveError
from schemas.recipe import Recipe, parse_recipe
from schemas.recipe_book import COLLECTIONS_FILE

Facts = dict[str, object]


def read_status(out: str, run: str | None = None) -> Facts:
    """The state of a run, the newest by default. Raises ArchiveError where there is none."""
    known = runs(out)
    if not known:
        raise ArchiveError(f"there is no run in {out}")
    if run is not None and run not in known:
        raise ArchiveError(f"no run {run!r} in {out}; the newest is {known[-1]}")
    ledger = Ledger(out, run or known[-1])
    info, summary = ledger.info(), ledger.summary()
    facts: Facts = {
        "run": ledger.run,
        "state": "unfinished" if summary is None else "finished",
        "started": info["started"],
        "sessions": len(cast(list[object], info["sessions"])),
        "out": out,
    }
    return facts | (_underway(ledger, info) if summary is None else _finished(summary))


def _finished(summary: Facts) -> Facts:
    clips = cast(dict[str, int], summary["clips"])
    kept = {name: summary[name] for name in ("frames", "seconds", "fps", "exit_code")}
    return {"clips": {state: n for state, n in clips.items() if n}, "at_work": [], **kept}


def _underway(ledger: Ledger, info: Facts) -> Facts:
    done = ledger.done()
    states = Counter(str(row["state"]) for row in done.values())
    at_work = _at_work(ledger, set(done))
    total = _total(info)
    waiting = {} if total is None else {"waiting": max(0, total - len(done) - len(at_work))}
    frames = sum(cast(int, row.get("frames") or 0) for row in done.values())
    frames += sum(cast(int, clip["frames_done"]) for clip in at_work)
    return {
        "clips": {**states, "at_work": len(at_work), **waiting},
        "at_work": at_work,
        "frames": frames,
    }


def _total(info: Facts) -> int | None:
    """Clips of the manifest; None when it cannot be read any more."""
    identity = cast(dict[str, object], info["identity"])
    try:
        return len(read_manifest(str(identity["manifest_uri"])))
    except (ArchiveError, KeyError):
        return None


def _at_work(ledger: Ledger, done: set[str]) -> list[Facts]:
    """Clips that were surveyed and have not come to an end, with their shards."""
    surveys = storage.listing(storage.join(ledger.uri, "survey"))
    names = {uri: uri.rsplit("/", 1)[-1].removesuffix(".json") for uri in surveys}
    waiting = [uri for uri, name in names.items() if name not in done]
    if not waiting:
        return []
    recipes = _recipes(ledger)
    found = [Survey.from_json(data) for data in storage.read_many(waiting).values()]
    return [_clip(ledger, s, recipes.get(s.recipe_sha256) or recipes[""]) for s in found]


def _recipes(ledger: Ledger) -> dict[str, Recipe]:
    """The run's recipes by digest; its own also without."""
    kept = [uri for uri in storage.listing(storage.join(ledger.uri, "recipes"))
            if not uri.endswith(COLLECTIONS_FILE)]  # fmt: skip
    own = storage.join(ledger.uri, "recipe.toml")
    texts = storage.read_many([own, *kept])
    recipes = {uri: parse_recipe(data.decode()) for uri, data in texts.items()}
    return {recipe.digest: recipe for recipe in recipes.values()} | {"": recipes[own]}


def _clip(ledger: Ledger, survey: Survey, recipe: Recipe) -> Facts:
    shards = plan_shards(survey.shots, recipe.shard_frames)
    done = ledger.segments(survey.clip_id)
    return {
        "clip_id": survey.clip_id,
        "shards_done": len(done),
        "shards": len(shards),
        "frames_done": sum(len(shard) for shard in shards if shard.index in done),
        "frames": len(survey.pts),
    }


def describe_status(facts: Facts) -> str:
    """The same for a person."""
    clips = cast(dict[str, int], facts["clips"])
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in clips.items() if n)
    sessions = cast(int, facts["sessions"])
    lines = [
        f"run {facts['run']}: {facts['state']}, started {facts['started']}"
        + (f", {sessions} sessions" if sessions > 1 else ""),
        f"{counts or 'no clips yet'}; {grouped(cast(int, facts['frames']))} frames restored",
    ]
    at_work = cast(list[Facts], facts["at_work"])
    if at_work:
        lines.append(table(at_work))
    return "\n".join(lines)
