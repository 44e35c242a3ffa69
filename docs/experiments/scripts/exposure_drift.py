"""Can the exposures of a shot say how far its light drifts?

Run: python docs/experiments/scripts/exposure_drift.py aged CLIPS STEPS [FRAMES SIDE SEED]
     python docs/experiments/scripts/exposure_drift.py real FILMS STEPS
     python docs/experiments/scripts/exposure_drift.py judge STEPS [FRAMES]

`aged` ages a shot of each clip as film; `real` plants flicker of the same size into the luma of up
to 96 frames of every shot, whose own light stays. Both write the thumbnails and the steps of
exposure, fitted along the motion there and back, into the folder STEPS. `judge` plants changes of
light into these numbers and removes the flicker by several rules.

The error is the standard deviation over time of a frame's mean error, in code values, at the size
of a thumbnail, as a mean over shots.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.samples import Options, find_clips, make_sample
from models.damage.processes import ar1
from models.motion.deflicker import (
    ENOUGH,
    FINEST,
    FLOW_MISS,
    PIVOT,
    RHO,
    _matched_exposure,
    fit_step,
    log_quantiles,
    small_luma,
)
from models.motion.flow import dis_flow, warp
from pipeline.detect.cuts import ShotDetector
from pipeline.media.rgb import read_rgb

Array = NDArray[np.float64]
Lumas = list[NDArray[np.uint8]]
LAST = 95  # the last frame that light is planted into
T = np.arange(LAST + 1.0)
CHANGES = {  # natural logs of the light
    "none": 0 * T,
    "0.4 % a frame": -0.004 * T,
    "2 % a frame": -0.02 * T,
    "12 frames, by 0.5": -0.5 / (1 + np.exp(-(T - 16) / 2.5)),
    "cloud": -0.15 * (1 - np.cos(2 * np.pi * np.clip((T - 4) / 24, 0, 1))),
    "lamp": -0.4 * (T < 16),
}


def drawn_shots(
    folder: Path, frames: int, side: int, seed: int
) -> Iterator[tuple[str, Lumas, Lumas]]:
    for path in find_clips([folder]):
        sample = make_sample(path, "film", Options(frames, seed, side or None))
        aged, clean = (
            [small_luma(frame.astype(np.float32) / 255) for frame in clip]
            for clip in (sample.aged.frames, sample.truth)
        )
        yield path.stem, aged, clean


def real_shots(folder: Path) -> Iterator[tuple[str, Lumas, Lumas]]:
    for seed, path in enumerate(find_clips([folder])):
        frames, detector, rng = list(read_rgb(path)), ShotDetector(), np.random.default_rng(seed)
        for frame in frames:
            detector.add(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        for shot in detector.finish():
            wanted = islice(frames, shot.start, min(shot.stop, shot.start + LAST + 1))
            lumas = [small_luma(frame.astype(np.float32) / 255) for frame in wanted]
            if len(lumas) >= 24:
                yield f"{path.stem}_{shot.start}", flickering(lumas, rng), lumas


def flickering(lumas: Lumas, rng: np.random.Generator) -> Lumas:
    gains, gammas = 1 + 0.06 * ar1(len(lumas), 0.3, rng), 0.06 * ar1(len(lumas), 0.3, rng)
    return [
        np.clip(np.rint(255 * gain * (luma / 255) ** np.exp(gamma)), 0, 255).astype(np.uint8)
        for luma, gain, gamma in zip(lumas, gains, gammas, strict=True)
    ]


def steps_of(lumas: Lumas) -> Array:
    """Steps (T - 1, 4) of exposure: a and log b there, then back."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(FINEST)
    quantiles = np.array([log_quantiles(luma) for luma in lumas])
    near = [quantiles[max(k - 2, 0) : k + 3].mean(0) for k in range(len(lumas))]
    level = [
        _matched_exposure(luma, own, around)
        for luma, own, around in zip(lumas, quantiles, near, strict=True)
    ]
    found = []
    for k in range(len(lumas) - 1):
        there = dis_flow(search, level[k], level[k + 1])
        back = dis_flow(search, level[k + 1], level[k])
        found.append(
            (
                *one_way(lumas[k], lumas[k + 1], there, back),
                *one_way(lumas[k + 1], lumas[k], back, there),
            )
        )
    return np.array(found)


def one_way(here: Array, there: Array, flow: Array, back: Array) -> tuple[float, float]:
    missed = flow + warp(back, flow)
    matched = (np.square(missed).sum(-1) < FLOW_MISS**2)[::2, ::2]
    if matched.mean() < ENOUGH:
        matched[:] = True
    moved = warp(there, flow)[::2, ::2]
    return fit_step(here[::2, ::2][matched].astype(np.float32), moved[matched].astype(np.float32))


class Shot(NamedTuple):
    """Thumbnails (T, 36, 64) of the aged and the clean shot, and steps (T - 1, 2)."""

    aged: Array
    clean: Array
    there: Array
    both: Array

    def lit(self, change: Array) -> "Shot":
        change = change[: len(self.aged)]
        light = np.exp(change)[:, None, None]
        steps = []
        for step in (self.there, self.both):
            a = step[:, 0] + change[1:] - np.exp(step[:, 1]) * change[:-1]
            steps.append(np.stack([a, step[:, 1]], 1))
        return Shot(self.aged * light, self.clean * light, *steps)


def read_shot(path: Path, frames: int) -> Shot:
    found = np.load(path)
    steps = found["steps"][: frames - 1]
    there, a, log_b = steps[:, :2], steps[:, 2], steps[:, 3]
    both = (there + np.stack([-a * np.exp(-log_b), -log_b], 1)) / 2
    return Shot(*(found[name][:frames].astype(float) for name in ("aged", "clean")), there, both)


def exposures(steps: Array) -> Array:
    found = [(0.0, 0.0)]
    for a, log_b in steps:
        found.append((a + np.exp(log_b) * found[-1][0], log_b + found[-1][1]))
    return np.array(found)


def covariance(count: int, drift: float, power: float) -> Array:
    apart = np.abs(np.arange(count)[:, None] - np.arange(count))
    return np.asarray(RHO**apart - 5 * drift * (apart / 10) ** power)


@cache
def weights(before: int, after: int, drift: float, power: float) -> Array:
    """Ordinary kriging: with `power` 1 the light is a random walk, near 2 it is nearly a line."""
    at = np.arange(-before, after + 1)
    system = np.ones((len(at) + 1, len(at) + 1))
    system[:-1, :-1] = covariance(len(at), drift, power)
    system[-1, -1] = 0
    wanted = np.append(-5 * drift * (np.abs(at) / 10) ** power, 1)
    return np.linalg.solve(system, wanted)[:-1]


@cache
def of_steps(count: int, drift: float, power: float) -> tuple[Array, float]:
    change = np.diff(np.eye(count + 1), axis=0)
    found = change @ covariance(count + 1, drift, power) @ change.T
    return np.linalg.inv(found), float(np.linalg.slogdet(found)[1])


def share_of_gamma(gain: Array, log_b: Array) -> float:
    """The gain that goes with a log-gamma of 1, by the steps of both; 0 if gamma is as still."""
    inverse = of_steps(len(gain) - 1, 0.01, 1.0)[0]
    gains, gammas = np.diff(gain), np.diff(log_b)
    both = gammas @ inverse @ gammas + 0.1 * (gains @ inverse @ gains)
    return float(gains @ inverse @ gammas / both)


class Rule(NamedTuple):
    """How the light is found from the exposures around a frame.

    ``reach`` is in frames each side. A drift is the variance of the light's change in one frame, as
    a share of the variance of flicker. Drifts above ``common`` are rarer before anything is
    measured, in inverse proportion; the odds of each come from the steps (a local level model).
    """

    reach: int
    drifts: tuple[float, ...]
    powers: tuple[float, ...] = (1.0,)
    common: float = np.inf
    there: bool = False  # steps are fitted one way
    gamma: bool = False  # gain is first freed of what goes with gamma

    def light(self, values: Array, before: int) -> Array:
        """Weights of the values (T,) of a channel in the light of one frame, by their odds."""
        kinds = [(drift, power) for power in self.powers for drift in self.drifts]
        steps, odds = np.diff(values), []
        for drift, power in kinds:
            inverse, log_det = of_steps(len(steps), drift, power)
            square = max(float(steps @ inverse @ steps) / len(steps), 1e-8)
            odds.append(
                -(len(steps) * np.log(square) + log_det) / 2 - np.log1p(drift / self.common)
            )
        likely = np.exp(np.array(odds) - max(odds))
        after = len(values) - 1 - before
        found = sum(
            p * weights(before, after, *kind) for p, kind in zip(likely, kinds, strict=True)
        )
        return np.asarray(found / likely.sum())

    def error(self, shot: Shot) -> float:
        all_of, missed = exposures(shot.there if self.there else shot.both), []
        for k, (aged, clean) in enumerate(zip(shot.aged, shot.clean, strict=True)):
            first = max(k - self.reach, 0)
            near = all_of[first : k + self.reach + 1]
            log_b = near[:, 1] - all_of[k, 1]
            level = np.log(np.maximum(aged, 1)).mean() - PIVOT
            gain = near[:, 0] - np.exp(log_b) * all_of[k, 0] + np.expm1(log_b) * level
            share = share_of_gamma(gain, log_b) if self.gamma else 0.0
            rest = gain - share * log_b
            light_b = self.light(log_b, k - first) @ log_b
            shift = self.light(rest, k - first) @ rest + share * light_b
            logs = np.log(np.maximum(aged, 1)) - PIVOT
            corrected = np.exp(PIVOT + level + shift + np.exp(light_b) * (logs - level))
            missed.append(np.clip(corrected, 0, 255).mean() - clean.mean())
        return float(np.std(missed))


ALL = 1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3
RULES = {
    "today: 12 frames, drift 0.03": Rule(12, (0.03,), there=True),
    "steps both ways": Rule(12, (0.03,)),
    "20 frames": Rule(20, (0.03,)),
    "random walk, above 0.01 rarer": Rule(20, ALL, common=0.01),
    "random walk, above 0.1 rarer": Rule(20, ALL, common=0.1),
    "random walk or line, above 0.1 rarer": Rule(20, ALL, (1.0, 1.9), 0.1),
    "the same, from 0.01": Rule(20, ALL[3:], (1.0, 1.9), 0.1),
    "random walk or line, and gamma": Rule(20, ALL, (1.0, 1.9), 0.1, gamma=True),
}


def thumbnail(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.resize(luma, (64, 36), interpolation=cv2.INTER_AREA)


def measure(shots: Iterator[tuple[str, Lumas, Lumas]], folder: Path) -> None:
    cv2.setNumThreads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name, aged, clean in shots:
        thumbnails = [np.stack([thumbnail(luma) for luma in lumas]) for lumas in (aged, clean)]
        np.savez(
            folder / f"{name}.npz", aged=thumbnails[0], clean=thumbnails[1], steps=steps_of(aged)
        )


def judge(folder: Path, frames: int) -> None:
    paths = sorted(folder.rglob("*.npz"))
    shots = {str(path.relative_to(folder)): read_shot(path, frames) for path in paths}
    print(f"{len(shots)} shots; light: " + ", ".join(CHANGES))
    each: dict[str, list[float]] = {}
    for name, rule in RULES.items():
        table = [[rule.error(s.lit(light)) for s in shots.values()] for light in CHANGES.values()]
        each[name] = table[0]
        lead = np.array(each[next(iter(RULES))]) - table[0]
        print(f"| {name} | " + " | ".join(f"{np.mean(row):.2f}" for row in table), end=" | ")
        print(f"gain {lead.mean():.2f} +- {lead.std(ddof=1) / len(lead) ** 0.5:.2f}", flush=True)
    for k, name in enumerate(shots):
        print(f"| {name} | " + " | ".join(f"{found[k]:.2f}" for found in each.values()) + " |")


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "judge":
        judge(Path(rest[0]), int(rest[1]) if len(rest) > 1 else LAST + 1)
    elif kind == "real":
        measure(real_shots(Path(rest[0])), Path(rest[1]))
    else:
        numbers = [*map(int, rest[2:])] or [24, 0, 0]
        measure(drawn_shots(Path(rest[0]), *numbers), Path(rest[1]))
