"""Measure the cost of a clip: send a few of its frames through every stage on this machine.

A trial writes to a temporary folder on this machine only, which is removed at the end.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.network import checkpoint
from pipeline.assemble import assemble_clip
from pipeline.clip.shards import plan_shards
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.segments import SegmentWriter
from pipeline.plan.estimate import MEGA, Cost, SourceSize, Trial, from_trials
from pipeline.restore import ShardRestorer
from pipeline.runs.run import Run
from pipeline.runs.settings import Settings
from pipeline.sources.fetch import fetched, source_token
from pipeline.survey import at_rate, survey_clip
from schemas.errors import ClipFault
from schemas.recipe import Recipe

SHORT, LONG = 2, 10  # frames of the two pieces of each clip
CLIPS = 3  # in a trial

Row = Mapping[str, Any]


def devices() -> tuple[str, int]:
    """The device of a run on this machine, `gpu` or `cpu`, and how many there are."""
    gpus = checkpoint.gpus()
    return ("gpu", gpus) if gpus else ("cpu", os.cpu_count() or 1)


def measured(row: Row, recipe: Recipe, cache: Path) -> SourceSize:
    """The work in a source, from its header. Raises ClipFault."""
    uri = str(row["source_uri"])
    with fetched(uri, cache) as source:
        probe = probe_file(source, recipe.limits)
    probe = at_rate(probe, row.get("expected_fps"), range(probe.frames_declared or 1))
    frames = probe.frames_declared or round((probe.duration_seconds or 0) * probe.fps)
    size = int(source_token(uri).partition(":")[0])
    return SourceSize(size, frames, frames * probe.width * probe.height / MEGA)


def tried(rows: Iterable[Row], recipe: Recipe, cache: Path) -> Cost | None:
    """The cost of clips with a recipe, from trials of the first clips without faults."""
    with TemporaryDirectory(prefix="ar-trial-") as folder:
        started = _seconds()
        restorer = ShardRestorer(recipe, None if checkpoint.gpus() else 1)
        start = _seconds() - started
        work = Run.open("trial.csv", [], folder, recipe, lambda event: None)
        pairs = _pairs(rows, work.settings, restorer, cache, Path(folder))
        return from_trials(islice(pairs, CLIPS), start)


def _pairs(
    rows: Iterable[Row], settings: Settings, restorer: ShardRestorer, cache: Path, folder: Path
) -> Iterable[tuple[Trial, Trial]]:
    for number, row in enumerate(islice(rows, 2 * CLIPS)):
        try:
            with fetched(str(row["source_uri"]), cache) as source:
                if number == 0:  # libraries do some work only once: not a cost of the clip
                    _trial(row, source, SHORT, settings, restorer, folder / "first")
                short, long = (
                    _trial(row, source, frames, settings, restorer, folder / f"{number}-{frames}")
                    for frames in (SHORT, LONG)
                )
        except ClipFault:  # a clip that fails tells nothing about the cost of the others
            continue
        if long.megapixel_frames > short.megapixel_frames:
            yield short, long


def _trial(
    row: Row, source: Path, frames: int, settings: Settings, restorer: ShardRestorer, folder: Path
) -> Trial:
    folder.mkdir()
    cut, recipe = folder / "cut.mkv", settings.recipe
    with Decoder(source, recipe.limits, count=frames) as decoder:
        probe = decoder.probe
        with SegmentWriter(cut, probe, recipe.slices) as writer:
            for frame in decoder:
                writer.write(frame.planes)
    clip = {"clip_id": folder.name, "source_uri": str(cut), "field_order": row.get("field_order")}
    started = _seconds()
    survey = survey_clip(clip, recipe, folder)
    records, busy = {}, _seconds()
    for shard in plan_shards(survey.shots, recipe.shard_frames):
        segment = folder / f"{shard.index}.mkv"
        record = restorer.restore(cut, survey, shard, segment)
        records[shard.index] = record | {"uri": str(segment)}
    restored = _seconds() - busy
    assemble_clip(clip, survey, records, settings)
    seconds = restored if checkpoint.gpus() else _seconds() - started
    size = Path(settings.clip_uri(clip)).stat().st_size
    return Trial(len(survey.pts) * probe.width * probe.height / MEGA, seconds, size)


def _seconds() -> float:
    """A clock in seconds: wall-clock time with a GPU, otherwise CPU time with children.

    CPU time hardly depends on other work of the machine.
    """
    if checkpoint.gpus():
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
