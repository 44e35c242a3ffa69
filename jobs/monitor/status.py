"""The state of a run, read from its ledger: running, interrupted or finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from jobs.console.output import clock, grouped, table
from jobs.monitor.timing import Pace, slowest, stage_seconds, with_time_left
from pipeline.clip.result import ClipResult
from pipeline.clip.segment import Segments
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.plan.estimate import MEGA
from pipeline.runs import lease
from pipeline.runs.ledger import Ledger, runs
from pipeline.runs.measures import clip_measures, shard_measures
from pipeline.shard_progress import frames_restored
from pipeline.sources.manifest import read_manifest
from pipeline.store import layout, storage
from schemas.errors import ArchiveError
from schemas.reasons import MADE
from schemas.recipe import Recipe, parse_recipe
from schemas.recipe_book import COLLECTIONS_FILE

Facts = dict[str, Any]


def read_status(out: str, run: str | None = None) -> Facts:
    """Return the state of a run, by default the newest. Raises ArchiveError if there is no run."""
    known = runs(out)
    if not known:
        raise ArchiveError(f"there is no run in {out}")
    if run is not None and run not in known:
        raise ArchiveError(f"no run {run!r} in {out}; the newest is {known[-1]}")
    ledger = Ledger(out, run or known[-1])
    info, summary = ledger.info(), ledger.summary()
    sessions = cast(list[Facts], info["sessions"])
    facts: Facts = {
        "run": ledger.run,
        "state": "unfinished" if summary is None else "finished",
        "started": info["started"],
        "sessions": len(sessions),
        "out": out,
    }
    results = ledger.done()
    if summary is not None:
        return facts | _finished(summary) | _timing(results, {})
    ledger.session = str(sessions[-1]["session"])
    return facts | {"activity": _activity(ledger)} | _underway(ledger, info, results)


def _finished(summary: Facts) -> Facts:
    clips = cast(dict[str, int], summary["clips"])
    kept = {name: summary[name] for name in ("frames", "seconds", "fps", "exit_code")}
    return {"clips": {state: n for state, n in clips.items() if n}, "at_work": [], **kept}


def _activity(ledger: Ledger) -> str:
    """Say what the run's driver process does, or that there is none."""
    _, tenure = lease.newest(ledger.out)
    if tenure is None or tenure.run != ledger.run or tenure.over(datetime.now(UTC)):
        return "stopped: no process works on it"
    return "draining" if ledger.stopped() else "under way"


def _underway(ledger: Ledger, info: Facts, results: Mapping[str, ClipResult]) -> Facts:
    states = Counter(result.state for result in results.values())
    surveys = _surveys(ledger, set(results))
    recipes = _recipes(ledger) if surveys else {}
    segments = {clip: ledger.segments(clip) for clip in surveys}
    restored = frames_restored(ledger)
    pace = _pace(results, surveys, segments)
    at_work = [
        _clip(
            ledger,
            survey,
            recipes.get(survey.recipe_sha256) or recipes[""],
            segments[clip],
            restored,
        )
        for clip, survey in surveys.items()
    ]
    pace.workers = max(1, sum(clip["workers"] for clip in at_work))
    total = _total(info)
    waiting = {} if total is None else {"waiting": max(0, total - len(results) - len(at_work))}
    frames = sum(int(result.number("frames") or 0) for result in results.values())
    frames += sum(clip["frames_done"] for clip in at_work)
    left = sum(clip["megapixels_left"] for clip in at_work)
    left += waiting.get("waiting", 0) * _mean_megapixels(results, surveys)
    return {
        "clips": {**states, "at_work": len(at_work), **waiting},
        "at_work": with_time_left(at_work, pace),
        "frames": frames,
        "eta_seconds": pace.remaining(left),
        **_timing(results, segments),
    }


def _timing(results: Mapping[str, ClipResult], segments: Mapping[str, Segments]) -> Facts:
    restored = [segment for of_clip in segments.values() for segment in of_clip.values()]
    ended = results.values()
    return {"seconds_of": stage_seconds(ended, restored), "slowest": slowest(ended)}


def _total(info: Facts) -> int | None:
    """Return the number of clips in the manifest; None if it cannot be read any more."""
    try:
        return len(read_manifest(str(info["identity"]["manifest_uri"])))
    except (ArchiveError, KeyError):
        return None


def _surveys(ledger: Ledger, done: set[str]) -> dict[str, Survey]:
    """Return the surveys of the clips that have not ended, in the order of surveying."""
    uris = list(storage.listing(layout.surveys(ledger.uri)))
    names = {uri: uri.rsplit("/", 1)[-1].removesuffix(".json") for uri in uris}
    read = storage.read_many(uri for uri in uris if names[uri] not in done)
    found = sorted(map(Survey.from_json, read.values()), key=lambda s: (s.surveyed, s.clip_id))
    return {survey.clip_id: survey for survey in found}


def _recipes(ledger: Ledger) -> dict[str, Recipe]:
    """Return the run's recipes by digest; the key "" holds the run's default recipe."""
    listed = storage.listing(layout.named_recipes(ledger.uri))
    named = [uri for uri in listed if not uri.endswith(COLLECTIONS_FILE)]
    default = layout.run_recipe(ledger.uri)
    texts = storage.read_many([default, *named])
    recipes = {uri: parse_recipe(data.decode()) for uri, data in texts.items()}
    return {recipe.digest: recipe for recipe in recipes.values()} | {"": recipes[default]}


def _clip(
    ledger: Ledger,
    survey: Survey,
    recipe: Recipe,
    done: Segments,
    restored: Mapping[tuple[str, int], int],
) -> Facts:
    shards = plan_shards(survey.shots, recipe.shard_frames)
    frames = sum(
        len(shard) if shard.index in done else restored.get((survey.clip_id, shard.index), 0)
        for shard in shards
    )
    attempts = [a for a in ledger.attempts(survey.clip_id) if cast(int, a["shard"]) >= 0]
    workers = sum(a["session"] == ledger.session for a in attempts if not a["ended"])
    return {
        "clip_id": survey.clip_id,
        "shards_done": len(done),
        "shards": len(shards),
        "frames_done": frames,
        "frames": len(survey.pts),
        "workers": workers,
        "doing": _doing(len(shards) - len(done), workers),
        "megapixels_left": (len(survey.pts) - frames) * _area(survey),
    }


def _doing(missing: int, workers: int) -> str:
    """Say what happens to a clip, or why it waits."""
    if workers:
        return "being restored"
    return "waits for a free worker" if missing else "being joined and verified"


def _pace(
    results: Mapping[str, ClipResult],
    surveys: Mapping[str, Survey],
    segments: Mapping[str, Segments],
) -> Pace:
    pace = Pace()
    for result in results.values():
        if result.state in MADE and (megapixels := _megapixels(result)):
            pace.add(megapixels, clip_measures(result))
    for clip, of_clip in segments.items():
        for segment in of_clip.values():
            pace.add(segment.frames * _area(surveys[clip]), shard_measures(segment))
    return pace


def _megapixels(result: ClipResult) -> float:
    """Return the megapixels of a whole clip; 0 if its size is unknown."""
    frames, width, height = (result.number(name) for name in ("frames", "width", "height"))
    return (frames or 0) * (width or 0) * (height or 0) / MEGA


def _area(survey: Survey) -> float:
    return survey.probe.width * survey.probe.height / MEGA


def _mean_megapixels(results: Mapping[str, ClipResult], surveys: Mapping[str, Survey]) -> float:
    """Return the mean megapixels of a whole clip, over the clips of known size."""
    sizes = [len(survey.pts) * _area(survey) for survey in surveys.values()]
    sizes += filter(None, map(_megapixels, results.values()))
    return sum(sizes) / len(sizes) if sizes else 0.0


def describe_status(facts: Facts) -> str:
    """Return the state of a run as text for a person."""
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in facts["clips"].items() if n)
    sessions, activity = facts["sessions"], facts.get("activity")
    lines = [
        f"run {facts['run']}: {facts['state']}"
        + (f" ({activity})" if activity else "")
        + f", started {facts['started']}"
        + (f", {sessions} sessions" if sessions > 1 else ""),
        f"{counts or 'no clips yet'}; {grouped(facts['frames'])} frames restored"
        + (f"; {_about(facts['eta_seconds'])} left" if facts.get("eta_seconds") else ""),
    ]
    spent = {stage: seconds for stage, seconds in facts["seconds_of"].items() if seconds}
    if spent:
        shares = (f"{stage} {s / sum(spent.values()):.0%}" for stage, s in spent.items())
        lines.append(f"worker time, {clock(sum(spent.values()))}: {', '.join(shares)}")
    if facts["at_work"]:
        clips = [clip | {"left": _about(clip["eta_seconds"])} for clip in facts["at_work"]]
        columns = ("clip_id", "doing", "left", "shards_done", "shards", "frames_done", "frames")
        lines += ["", table(clips, columns)]
    if facts["slowest"]:
        lines += ["", "slowest clips:", table(facts["slowest"])]
    return "\n".join(lines)


def _about(seconds: float | None) -> str:
    return "" if seconds is None else f"about {clock(seconds)}"
