"""Scores of the model and of classical filters, on clean clips aged by the damage simulator.

The first pass over the clips tunes every filter against the truth, which favours the filters. The
second pass runs and scores every method. `jobs/evaluate/results.py` writes the files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import cv2
import numpy as np

from jobs.console.output import log
from jobs.evaluate.baselines import BASELINES, Baseline
from jobs.evaluate.perceptual import perceptual
from jobs.evaluate.results import Crop, Evaluation, Row, ScoredClip, publish
from jobs.evaluate.samples import Clip, Options, find_clips, make_sample
from jobs.evaluate.scores import psnr_of, score, timed
from models.damage.presets import PRESETS
from models.motion.deflicker import flickers, region_levels
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from models.restorer import Restorer

Restore = Callable[[Clip], Clip]
T = TypeVar("T")
R = TypeVar("R")

TUNE_FRAMES, TUNE_HEIGHT, TUNE_WIDTH = 12, 240, 320  # part of a clip used to tune the filters
CROP_PX = 192  # side of the crops in the picture, pixels


@dataclass(frozen=True)
class Method:
    """One way to restore a clip. ``prepare`` is called before the time is measured."""

    name: str
    family: Literal["identity", "filter", "chain", "ours"]
    restore: Restore
    strength: float | None = None
    prepare: Callable[[], object] | None = None


def keep(clip: Clip) -> Clip:
    """Return the clip unchanged: the method "identity"."""
    return clip


@cache
def restorer_of(size: str, steps: int, weights: Path | None) -> Restorer:
    """Load the model once for each process."""
    from models.restorer import Restorer  # torch: imported only if it is used

    return Restorer(size, steps, weights=weights)


def restore_with_model(
    clip: Clip, size: str, steps: int = 1, weights: Path | None = None, deflicker: bool = True
) -> Clip:
    """Restore one shot as the recipe `clean` does. Deflicker runs if the shot flickers."""
    restorer = restorer_of(size, steps, weights)
    images = (frame.astype(np.float32) / 255 for frame in clip)
    unsteady = deflicker and is_unsteady(clip)
    restored = restorer.stream(images, deflicker=unsteady, suspects="scratches")
    frames = [np.clip(np.rint(255 * one.image), 0, 255).astype(np.uint8) for one in restored]
    return np.stack(frames)


def is_unsteady(clip: Clip) -> bool:
    """Return whether the exposure of a shot flickers."""
    levels = [region_levels(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in clip]
    return flickers(np.stack(levels))


def centre(clip: Clip) -> Clip:
    """Return the part of a clip used to tune the filters."""
    top = max(clip.shape[1] - TUNE_HEIGHT, 0) // 2
    left = max(clip.shape[2] - TUNE_WIDTH, 0) // 2
    return clip[:TUNE_FRAMES, top : top + TUNE_HEIGHT, left : left + TUNE_WIDTH]


Task = tuple[Path, str, Options]


def try_strengths(task: Task, baselines: Mapping[str, Baseline]) -> dict[str, list[float]]:
    """Return the PSNR (dB) of every strength of every baseline, on the middle of one aged clip."""
    sample = make_sample(*task)
    truth, damaged = centre(sample.truth), centre(sample.aged.frames)
    return {
        name: [psnr_of(baseline.run(damaged, strength), truth) for strength in baseline.strengths]
        for name, baseline in baselines.items()
    }


def score_clip(task: Task, methods: Mapping[str, Sequence[Method]]) -> ScoredClip:
    """Run the preset's methods on one aged clip: a row of scores and a crop of each."""
    sample = make_sample(*task)
    damaged, truth = sample.aged.frames, sample.truth
    count, height, width, _ = truth.shape
    crop = Crop.worst(damaged, truth, CROP_PX)
    rows: list[Row] = []
    pictures = {"truth": crop.cut(truth)}
    for method in methods[sample.preset]:
        if method.prepare is not None:
            method.prepare()
        done = timed(method.restore, damaged)
        if done.clip.shape != truth.shape:
            raise ArchiveError(
                f"{method.name} returned shape {done.clip.shape} instead of {truth.shape}"
            )
        row: Row = {"clip": sample.clip, "preset": sample.preset, "method": method.name}
        row |= {"family": method.family, "strength": method.strength, "seed": task[2].seed}
        row |= {"start": sample.start, "frames": count, "width": width, "height": height}
        row |= score(done.clip, truth, sample.aged.masks) | perceptual(done.clip, truth)
        row["cpu_s_per_frame"] = done.cpu_seconds / count
        row["wall_s_per_frame"] = done.wall_seconds / count
        row["damage"] = json.dumps(sample.aged.severity)
        rows.append(row)
        pictures[method.name] = crop.cut(done.clip)
    return ScoredClip(sample.clip, sample.preset, rows, pictures)


def _quiet_worker() -> None:
    cv2.setNumThreads(1)


def over_clips(work: Callable[[T], R], tasks: Sequence[T], jobs: int, doing: str) -> list[R]:
    """Return results in the order of the tasks, with one line of log for each.

    ``jobs`` is the number of processes.
    """
    results: list[R] = []

    def collect(answers: Iterable[R]) -> list[R]:
        for answer in answers:
            results.append(answer)
            log(f"{doing}: {len(results)} of {len(tasks)}")
        return results

    if jobs <= 1:
        return collect(map(work, tasks))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the workers
    with ProcessPoolExecutor(jobs, get_context("spawn"), _quiet_worker) as pool:
        return collect(pool.map(work, tasks))


def tune(
    tasks: Sequence[Task], baselines: Mapping[str, Baseline], jobs: int
) -> dict[str, dict[str, dict[float, float]]]:
    """Return the mean PSNR (dB) by preset, baseline and strength."""
    if not baselines:
        return {}
    answers = over_clips(partial(try_strengths, baselines=baselines), tasks, jobs, "tuned")
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for preset in dict.fromkeys(task[1] for task in tasks):
        pairs = zip(tasks, answers, strict=True)
        of_preset = [answer for task, answer in pairs if task[1] == preset]
        curves[preset] = {}
        for name, baseline in baselines.items():
            means = np.mean([answer[name] for answer in of_preset], axis=0).tolist()
            curves[preset][name] = dict(zip(baseline.strengths, means, strict=True))
    return curves


def evaluate(
    clips: Sequence[Path],
    presets: Sequence[str],
    options: Options,
    baselines: Mapping[str, Baseline],
    extra: Sequence[Method] = (),
    jobs: int = 1,
) -> Evaluation:
    """Score the identity, the tuned baselines and ``extra`` methods on every clip and preset."""
    tasks: list[Task] = [(clip, preset, options) for preset in presets for clip in clips]
    curves = tune(tasks, baselines, jobs)
    methods: dict[str, list[Method]] = {}
    for preset in presets:
        methods[preset] = [Method("identity", "identity", keep)]
        for name, baseline in baselines.items():
            curve = curves[preset][name]
            best = max(curve, key=curve.__getitem__)
            run = partial(baseline.run, strength=best)
            methods[preset].append(
                Method(name, "filter" if baseline.single else "chain", run, best)
            )
        methods[preset] += extra
    results = over_clips(partial(score_clip, methods=methods), tasks, jobs, "scored")
    return Evaluation(results, curves)


def evaluate_command(
    data: Sequence[Path],
    presets: Sequence[str] = ("film",),
    frames: int = 24,
    seed: int = 0,
    out: Path = Path("evaluation"),
    methods: Sequence[str] | None = None,
    jobs: int = 1,
    *,
    sizes: Sequence[str] = ("base",),
    steps: int = 1,
    weights: Path | None = None,
    max_side: int | None = None,
) -> dict[str, object]:
    """Evaluate, write the files below ``out`` and return the same facts, ready for JSON.

    With several ``sizes``, verdicts and pictures show the last one. ``methods`` are names of
    ``BASELINES`` and "ours"; None means all. The identity is always scored. The key ``rows`` holds
    the table, one row per preset and method; ``markdown`` holds it as text.
    """
    known = [*BASELINES, "ours"]
    wanted = known if methods is None else [name for name in methods if name != "identity"]
    for name, allowed in [(m, known) for m in wanted] + [(p, list(PRESETS)) for p in presets]:
        if name not in allowed:
            raise ArchiveError(f"unknown {name!r}: give one of {', '.join(allowed)}")
    if frames < 1:
        raise ArchiveError(f"--frames {frames}: give 1 or more")
    clips = find_clips(data)
    if weights and len(sizes) > 1:
        raise ArchiveError("--weights needs exactly one --size: weights fit one size only")
    ours: list[Method] = []
    for size in sizes if "ours" in wanted else ():
        run = partial(restore_with_model, size=size, steps=steps, weights=weights)
        prepare = partial(restorer_of, size, steps, weights)
        name = f"ours {size}" if len(sizes) > 1 else "ours"
        ours.append(Method(name, "ours", run, prepare=prepare))
    baselines = {name: BASELINES[name] for name in wanted if name in BASELINES}
    options = Options(frames, seed, max_side)
    result = evaluate(clips, presets, options, baselines, ours, jobs)
    request = {"frames": frames, "seed": seed, "max_side": max_side, "presets": list(presets)}
    model = {"sizes": list(sizes), "steps": steps} if ours else None
    return publish(result, out, {**request, "clips": [c.name for c in clips], "model": model})
