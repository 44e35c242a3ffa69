"""Scores of restored frames against the truth, and intervals of means over clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.samples import Clip
from pipeline.clip.frames import Luma
from pipeline.detect.metrics import NAN, mean_square, psnr_from_mean_square, ssim
from pipeline.runs.usage import Usage

Masks = Mapping[str, NDArray[np.bool_]]  # (T, H, W) of each kind of defect


def psnr_of(clip: Clip, truth: Clip) -> float:
    """Return the mean over frames of the PSNR over RGB, in dB. A frame counts at most 100 dB."""
    pairs = zip(clip, truth, strict=True)
    values = [psnr_from_mean_square(mean_square(_flat(a), _flat(b))) for a, b in pairs]
    return float(np.mean(values))


def score(clip: Clip, truth: Clip, masks: Masks) -> dict[str, float]:
    """Return every score of one clip. PSNR inside a kind of defect is NaN if there is none."""
    scores = {
        "psnr_db": psnr_of(clip, truth),
        "ssim": _ssim_of(clip, truth),
        "td": _temporal_error(clip, truth),
        "fl": _flicker_error(clip, truth),
        "sharp": _gradient_energy(clip) / max(_gradient_energy(truth), 1e-9),
    }
    union = np.zeros(clip.shape[:3], bool)
    for kind, mask in masks.items():
        scores[f"psnr_in_{kind}_db"] = _psnr_within(clip, truth, mask)
        union |= mask
    scores["psnr_outside_db"] = _psnr_within(clip, truth, ~union)
    return scores


def _flat(frame: NDArray[np.uint8]) -> Luma:
    """Return the channels side by side in one float plane (H, 3 W)."""
    return frame.reshape(frame.shape[0], -1).astype(np.float32)


def _ssim_of(clip: Clip, truth: Clip) -> float:
    """Return the mean SSIM over frames and channels."""
    values = [
        ssim(a[..., channel].astype(np.float32), b[..., channel].astype(np.float32))
        for a, b in zip(clip, truth, strict=True)
        for channel in range(3)
    ]
    return float(np.mean(values))


def _temporal_error(clip: Clip, truth: Clip) -> float:
    """Return the RMS difference between the frame differences of clip and truth, in grey levels."""
    errors = [a.astype(np.float32) - b for a, b in zip(clip, truth, strict=True)]
    steps = [mean_square(_sides(b), _sides(a)) for a, b in pairwise(errors)]
    return math.sqrt(float(np.mean(steps))) if steps else NAN


def _sides(frame: NDArray[np.float32]) -> Luma:
    return frame.reshape(frame.shape[0], -1)


def _flicker_error(clip: Clip, truth: Clip) -> float:
    """Return the standard deviation over time of a frame's mean error, in grey levels."""
    means = [float(a.mean() - b.mean()) for a, b in zip(clip, truth, strict=True)]
    return float(np.std(means))


def _gradient_energy(clip: Clip) -> float:
    """Return the mean squared horizontal difference.

    Divided by that of the truth, a value below 1 means blur and above 1 means noise.
    """
    steps = [np.diff(frame.astype(np.float32), axis=1) for frame in clip]
    return float(np.mean([np.square(step).mean() for step in steps]))


def _psnr_within(clip: Clip, truth: Clip, mask: NDArray[np.bool_]) -> float:
    """Return the PSNR over the masked pixels of all frames together, in dB; NaN without any."""
    if not mask.any():
        return NAN
    error = clip[mask].astype(np.float32) - truth[mask]
    return psnr_from_mean_square(float(np.square(error).mean()))


@dataclass(frozen=True)
class Interval:
    """A mean over clips and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], seed: int = 0, rounds: int = 10_000) -> Interval:
    """Return the mean of the known values, and the 2.5 and 97.5 percentiles of resampled means.

    Clips are drawn with replacement, so the interval is valid for other clips of the same kind.
    With one clip the interval has no width and no meaning.
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if known.size == 0:
        return Interval(NAN, NAN, NAN)
    drawn = np.random.default_rng(seed).integers(0, known.size, (rounds, known.size))
    low, high = np.percentile(known[drawn].mean(axis=1), (2.5, 97.5))
    return Interval(float(known.mean()), float(low), float(high))


@dataclass(frozen=True)
class Timed:
    """A restored clip, and the time it took in this process and its ended child processes."""

    clip: Clip
    cpu_seconds: float
    wall_seconds: float


def timed(restore: Callable[[Clip], Clip], clip: Clip) -> Timed:
    """Run a method on a clip and measure its time."""
    begun = Usage.now()
    result = restore(clip)
    spent = begun.spent()
    return Timed(result, spent.cpu, spent.clock)
