"""Measure the cost of a clip: send a few of its frames through every stage on this machine.

A trial writes to a temporary folder on this machine only, which is removed at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from models.network import checkpoint
from models.network.need import predicted
from pipeline.clip.clip import Clip
from pipeline.local import LocalExecutor
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.segments import SegmentWriter
from pipeline.plan.estimate import MEGA, Cost, SourceSize, Trial, from_trials
from pipeline.runs.run import Run
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched, source_token
from pipeline.survey import at_rate
from schemas.errors import ClipFault
from schemas.recipe import Recipe

SHORT, LONG = 2, 10  # frames of the two pieces of each clip
CLIPS = 3  # in a trial


def devices() -> tuple[str, int]:
    """The device of a run on this machine, `gpu` or `cpu`, and how many there are."""
    gpus = checkpoint.gpus()
    return ("gpu", gpus) if gpus else ("cpu", os.cpu_count() or 1)


def measured(clip: Clip, recipe: Recipe, cache: Path) -> SourceSize:
    """The work in a source, from its header. Raises ClipFault."""
    with fetched(clip.source_uri, cache) as source:
        probe = probe_file(source, recipe.limits)
    probe = at_rate(probe, clip.expected_fps, range(probe.frames_declared or 1))
    frames = probe.frames_declared or round((probe.duration_seconds or 0) * probe.fps)
    size = int(source_token(clip.source_uri).partition(":")[0])
    memory = predicted(recipe.model, probe.width, probe.height) if recipe.strength else 0
    return SourceSize(size, frames, frames * probe.width * probe.height / MEGA, memory)


def tried(clips: Iterable[Clip], recipe: Recipe, cache: Path) -> Cost | None:
    """The cost of clips with a recipe, from trials of the first clips without faults.

    Clean shots are restored in a trial: how much of the clips is clean is not known before a run.
    """
    recipe = replace(recipe, clean="restore")
    with TemporaryDirectory(prefix="ar-trial-") as folder:
        executor = LocalExecutor(None if checkpoint.gpus() else 1)
        started = _seconds()
        executor.restorers.of(recipe)
        start = _seconds() - started
        trials = _Trials(executor, recipe, cache, Path(folder))
        return from_trials(islice(trials.pairs(clips), CLIPS), start)


class _Trials:
    """Short and long pieces of clips, restored in runs of their own."""

    def __init__(self, executor: LocalExecutor, recipe: Recipe, cache: Path, folder: Path) -> None:
        self.executor, self.recipe, self.cache, self.folder = executor, recipe, cache, folder

    def pairs(self, clips: Iterable[Clip]) -> Iterable[tuple[Trial, Trial]]:
        """A short and a long trial of each clip that can be tried."""
        for number, clip in enumerate(islice(clips, 2 * CLIPS)):
            try:
                with fetched(clip.source_uri, self.cache) as source:
                    if number == 0:  # what the libraries do once is no cost of a clip
                        self._trial(clip, source, SHORT, "first")
                    short, long = (
                        self._trial(clip, source, frames, f"{number}-{frames}")
                        for frames in (SHORT, LONG)
                    )
            except ClipFault:  # a clip that would end with a reason says nothing about the others
                continue
            if long.megapixel_frames > short.megapixel_frames:
                yield short, long

    def _trial(self, clip: Clip, source: Path, frames: int, name: str) -> Trial:
        """One piece through every stage. Raises ClipFault for a piece that is not published."""
        folder = self.folder / name
        folder.mkdir()
        cut, recipe = folder / "cut.mkv", self.recipe
        with Decoder(source, recipe.limits, count=frames) as decoder:
            probe = decoder.probe
            with SegmentWriter(cut, probe, recipe.slices) as writer:
                for frame in decoder:
                    writer.write(frame.planes)
        piece = Clip(name, str(cut), field_order=clip.field_order)
        work = Run.open("trial.csv", [piece], str(folder / "out"), recipe, lambda event: None)
        started = _seconds()
        result = self.executor.result(work, piece)
        seconds = result.number("seconds_gpu") if checkpoint.gpus() else _seconds() - started
        megapixel_frames = (result.number("frames") or 0) * probe.width * probe.height / MEGA
        return Trial(megapixel_frames, seconds or 0.0, int(result.number("output_bytes") or 0))


def _seconds() -> float:
    """Seconds of all cores so far, child processes included: little depends on other work.

    The clock's where a GPU works.
    """
    if checkpoint.gpus():
        return time.perf_counter()
    return Usage.now().cpu
