"""Fits the weights by which `models.fidelity.evidence` tells a defect from a thing.

`python -m jobs.training.evidence DATA` reads DATA/video and DATA/photo, draws real things in motion
on short clips, damages them, restores them, and takes every region that stands out. The simulator's
masks say which regions are defects. A logistic regression gives the constants, which are printed.
They are copied into `models/fidelity/evidence.py` by hand, with an experiment that measures them on
real film.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.console import output
from jobs.evaluate.evaluate import is_unsteady, over_clips, restorer_of
from jobs.evaluate.samples import find_clips
from models.damage.simulator import age, random_stream
from models.damage.things import add_things
from models.fidelity.evidence import MOST_DEVIATIONS
from models.fidelity.regions import Measures, Seen
from models.frame_state import number_frames
from models.motion.deflicker import Deflicker
from models.motion.windows import align_windows
from models.network.stage import NetworkStage
from pipeline.media.rgb import codec_round_trip, read_rgb
from schemas.errors import ArchiveError

FRAMES = 15  # of a clip; the first two and the last two are context
LONGEST = 320, 520  # pixels of the longer side, drawn for each clip
PRESETS = {"film_train": 0.25, "access_train": 0.42, "worn": 0.1, "clean": 0.15, "film": 0.08}
THINGS, MONOCHROME = 0.6, 0.5  # share of the clips with things, and without colour
DEFECT_MASKS = ("dust", "blotch", "scratch", "lost")
DEFECT_FROM, THING_TO = 0.4, 0.05  # share of a region in the simulator's masks
LEAST_STRENGTH = 40.0  # weaker regions are mostly noise
DECAY = 0.01  # weight decay of the regression
ITERATIONS = 60


class Regions(NamedTuple):
    """The regions of one clip: their measures (N, 6), and which are defects (N,)."""

    measures: NDArray[np.float64]
    defect: NDArray[np.bool_]


class Fit(NamedTuple):
    """The constants of `models.fidelity.evidence`, and the regions they come from."""

    means: list[float]
    deviations: list[float]
    weights: list[float]
    bias: float
    regions: int
    defects: int


def regions_of(path: Path, photos: Sequence[NDArray[np.float32]], size: str, seed: int) -> Regions:
    """The regions of a part of one clip with things and damage."""
    rng = random_stream(seed, path.stem)
    frames = list(read_rgb(path))
    if len(frames) < FRAMES:
        raise ArchiveError(f"{path} has {len(frames)} frames; {FRAMES} are needed")
    first = int(rng.integers(len(frames) - FRAMES + 1))
    clip = np.stack(frames[first : first + FRAMES])
    scale = min(rng.uniform(*LONGEST) / max(clip.shape[1:3]), 1.0)
    width, height = (int(side * scale) // 2 * 2 for side in (clip.shape[2], clip.shape[1]))
    resized = [cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in clip]
    truth = np.stack(resized).astype(np.float32)
    if rng.random() < MONOCHROME:
        truth[:] = truth.mean(3, keepdims=True)
    if rng.random() < THINGS:
        add_things(truth, rng, photos)
    preset = str(rng.choice(list(PRESETS), p=list(PRESETS.values())))
    aged = age(np.clip(np.rint(truth), 0, 255).astype(np.uint8), preset, seed, codec_round_trip)
    mask = np.logical_or.reduce([aged.masks[name] for name in DEFECT_MASKS])
    seen = list(_seen(aged.frames, size))
    found = [Regions(np.zeros((0, len(Measures._fields))), np.zeros(0, bool))]
    for before, (here, at), after in zip(seen, seen[1:], seen[2:], strict=False):
        if here.regions:
            found.append(_labelled(here, (before[0], after[0]), mask[at]))
    return Regions(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _seen(clip: NDArray[np.uint8], size: str) -> Iterator[tuple[Seen, int]]:
    """What stands out in each frame but the first and the last, and the frame's number."""
    restorer = restorer_of(size, 1, None)
    frames = number_frames(frame.astype(np.float32) / np.float32(255) for frame in clip)
    if is_unsteady(clip):
        frames = Deflicker().run(frames)
    aligned = align_windows(frames, restorer.flow, range(1, len(clip) - 1))
    for state in NetworkStage(restorer.net, 1).run(aligned):
        yield Seen.of(state), state.index


def _labelled(here: Seen, others: tuple[Seen, Seen], mask: NDArray[np.bool_]) -> Regions:
    """The strong regions of a frame that are clearly a defect or clearly none."""
    count = len(here.regions) + 1
    labels = here.labels.ravel()
    inside = np.bincount(labels, weights=mask.ravel(), minlength=count)[1:]
    share = inside / np.bincount(labels, minlength=count)[1:]
    strong = np.array([region.strength > LEAST_STRENGTH for region in here.regions])
    clear = strong & ((share >= DEFECT_FROM) | (share < THING_TO))
    measures = np.stack(here.with_neighbours(others), 1)
    return Regions(measures[clear], share[clear] >= DEFECT_FROM)


def fit(clips: Sequence[Regions]) -> Fit:
    """Logistic regression by Newton's method.

    The regions of one kind in one clip weigh together as much as the root of their number. Raises
    ArchiveError without regions of both kinds.
    """
    measures = np.concatenate([clip.measures for clip in clips])
    defect = np.concatenate([clip.defect for clip in clips])
    if not 0 < defect.sum() < len(defect):
        raise ArchiveError("the clips have no defects, or nothing else: give more clips")
    weight = np.concatenate([_weights(clip.defect) for clip in clips])
    weight /= weight.sum()
    means, deviations = measures.mean(0), measures.std(0) + 1e-6
    scaled = np.clip((measures - means) / deviations, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    rows = np.hstack([scaled, np.ones((len(scaled), 1))])
    decay = np.full(rows.shape[1], 2 * DECAY)
    decay[-1] = 1e-9  # the bias is free
    solution = np.zeros(rows.shape[1])
    for _ in range(ITERATIONS):
        odds = 1 / (1 + np.exp(-np.clip(rows @ solution, -30, 30)))
        slope = rows.T @ (weight * (odds - defect)) + decay * solution
        bend = (rows * (weight * odds * (1 - odds))[:, None]).T @ rows + np.diag(decay)
        solution -= np.linalg.solve(bend, slope)
    return Fit(
        means=_rounded(means),
        deviations=_rounded(deviations),
        weights=_rounded(solution[:-1]),
        bias=_rounded(solution)[-1],
        regions=len(defect),
        defects=int(defect.sum()),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _weights(defect: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(defect, defect.sum(), (~defect).sum()).clip(1) ** -0.5


def main(data: Path, size: str = "base", seed: int = 0, jobs: int = 1) -> Fit:
    """Fit the constants on every clip of a folder with ``video/`` and ``photo/``."""
    photos = [
        cv2.cvtColor(cv2.resize(picture, (640, 400)), cv2.COLOR_BGR2RGB).astype(np.float32)
        for path in sorted((data / "photo").iterdir())
        if (picture := cv2.imread(str(path))) is not None
    ]
    work = partial(regions_of, photos=photos, size=size, seed=seed)
    return fit(over_clips(work, find_clips([data / "video"]), jobs, "restored"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m jobs.training.evidence DATA: give the folder with video/ and photo/")
    output.say(json.dumps(main(Path(sys.argv[1]))._asdict()))
