"""How far can the flicker error fall by another rule for the exposures of a shot?

Run: python docs/experiments/scripts/exposure_bound.py FOLDER

24 frames of each clip are aged as film. Three kinds of steps of exposure are put together by
ordinary kriging with several drifts, over 12 frames each side and over the whole shot:

- flicker: the drawn flicker alone, fitted to the aged and the clean frame at the same pixels.
- perfect: the same, with the change of light of the clean clip, measured along the motion.
- measured: what the pipeline measures in the aged clip.

The error is the standard deviation over time of a frame's mean error, in code values, at the size
of a thumbnail.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.samples import Options, find_clips, make_sample
from models.motion import deflicker
from models.motion.deflicker import PIVOT, Deflicker, Seen, fit_step, log_quantiles, small_luma

Step = tuple[float, float]  # (a, log b) of models.motion.deflicker.fit_step
DRIFTS = 1e-5, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1
REACHES = 12, 24  # frames each side; 24 is the whole shot
FRAMES = 24


class Shot(NamedTuple):
    """Thumbnails (T, 36, 64) of an aged and a clean clip, and the steps by kind."""

    aged: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    steps: dict[str, list[Step]]


def then(first: Step, second: Step) -> Step:
    """One exposure after the other."""
    return second[0] + np.exp(second[1]) * first[0], first[1] + second[1]


def inverse(step: Step) -> Step:
    return -step[0] * np.exp(-step[1]), -step[1]


def measured(lumas: list[NDArray[np.uint8]]) -> list[Step]:
    """The steps that the pipeline measures along the motion."""
    stage = Deflicker()
    stage._seen = {k: Seen(luma, log_quantiles(luma)) for k, luma in enumerate(lumas)}
    stage._count = len(lumas)
    return [stage._step(k)() for k in range(len(lumas) - 1)]


def shot_of(path: Path) -> Shot:
    sample = make_sample(path, "film", Options(FRAMES))
    aged, clean = (
        [small_luma(frame.astype(np.float32) / 255) for frame in frames]
        for frames in (sample.aged.frames, sample.truth)
    )
    drawn = [
        fit_step(*(luma[::2, ::2].ravel().astype(np.float32) for luma in pair))
        for pair in zip(clean, aged, strict=True)
    ]
    light = measured(clean)
    pairs = list(pairwise(drawn))
    steps = {
        "flicker": [then(inverse(here), there) for here, there in pairs],
        "perfect": [
            then(then(inverse(here), step), there)
            for step, (here, there) in zip(light, pairs, strict=True)
        ],
        "measured": measured(aged),
    }
    return Shot(*(np.stack([thumbnail(x) for x in lumas]) for lumas in (aged, clean)), steps)


def thumbnail(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.resize(luma, (64, 36), interpolation=cv2.INTER_AREA)


def flicker_error(shot: Shot, kind: str, drift: float, reach: int) -> float:
    deflicker.DRIFT, deflicker.LIGHT_REACH = drift, reach
    deflicker.light_weights.cache_clear()
    stage = Deflicker()
    stage._steps = [lambda step=step: step for step in shot.steps[kind]]
    means = []
    for k, (aged, clean) in enumerate(zip(shot.aged, shot.clean, strict=True)):
        curve = stage._curve(k)
        corrected = 255 * curve.gain * (np.maximum(aged, 1) / 255) ** curve.gamma
        means.append(np.clip(corrected, 0, 255).mean() - clean.mean())
    return float(np.std(means))


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    shots = [shot_of(path) for path in find_clips([folder])]
    print(f"{len(shots)} clips; pivot {np.exp(PIVOT):.0f}")
    for kind in ("flicker", "perfect", "measured"):
        for reach in REACHES:
            table = np.array(
                [[flicker_error(shot, kind, drift, reach) for shot in shots] for drift in DRIFTS]
            )
            means = " ".join(f"{value:.2f}" for value in table.mean(1))
            best = table.min(0).mean()
            print(f"{kind}, {reach} frames: {means}; the best drift of each clip {best:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
