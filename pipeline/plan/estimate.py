"""Estimate a run: the amount of work and its cost, each as a low, a likely and a high figure.

The amount comes from the headers of a sample of the sources, scaled by their sizes in bytes. The
cost is measured, in earlier runs or in a trial with a few frames.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.recipe import Recipe

MEGA = 1e6
# Uncertainty on each side, as a share of the figure.
NARROWEST = 0.15  # at least: no two runs are closer to each other
ONE_NIGHT = 0.3  # if only one run or a trial was measured
CONFIDENCE = 1.645  # standard errors on each side of an estimate from a sample: 90 %


class Band(NamedTuple):
    """An estimated figure with its lower and upper bound."""

    low: float
    likely: float
    high: float

    def __mul__(self, factor: float) -> Band:  # type: ignore[override]
        return Band(*(value * factor for value in self))

    def __add__(self, other: Band) -> Band:  # type: ignore[override]
        return Band(*(a + b for a, b in zip(self, other, strict=True)))

    def widened(self, share: float) -> Band:
        """The band with more uncertainty on each side: an independent error, as a share."""
        if not self.likely:
            return self
        low, high = 1 - self.low / self.likely, self.high / self.likely - 1
        below = min(0.95, math.hypot(low, share))
        return Band(
            self.likely * (1 - below), self.likely, self.likely * (1 + math.hypot(high, share))
        )

    @property
    def rounded(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in self._asdict().items()}


NOTHING = Band(0, 0, 0)


class SourceSize(NamedTuple):
    """The work in one source. A source that cannot be read has none."""

    source_bytes: int
    frames: float
    megapixel_frames: float
    memory_bytes: int = 0  # of a worker that restores it; 0 without the model


@dataclass
class Stratum:
    """Sources of one recipe and one kind of file."""

    recipe: Recipe
    clips: int = 0
    source_bytes: int = 0
    sizes: list[SourceSize] = field(default_factory=list)  # of the sample

    @property
    def readable(self) -> float:
        """Clips that can be restored, from the share of readable sources in the sample."""
        if not self.sizes:
            return self.clips
        return self.clips * sum(size.frames > 0 for size in self.sizes) / len(self.sizes)

    def total(self, amount: Callable[[SourceSize], float]) -> Band:
        """The sum of `amount` over all clips, from the sample: ratio estimator over the bytes."""
        if not self.sizes:
            return NOTHING
        known = sum(max(1, size.source_bytes) for size in self.sizes)
        ratio = sum(map(amount, self.sizes)) / known
        n, likely = len(self.sizes), ratio * max(self.clips, self.source_bytes)
        if n >= self.clips:
            likely = float(sum(map(amount, self.sizes)))
            return Band(likely, likely, likely)
        if n == 1:
            return Band(likely / 2, likely, likely * 2)
        misses = [amount(size) - ratio * max(1, size.source_bytes) for size in self.sizes]
        variance = sum(miss * miss for miss in misses) / (n - 1)
        error = CONFIDENCE * self.clips * math.sqrt((1 - n / self.clips) * variance / n)
        return Band(max(sum(map(amount, self.sizes)), likely - error), likely, likely + error)


@dataclass(frozen=True)
class Cost:
    """Measured seconds of a worker (a core, or a GPU with its cores), and bytes written."""

    seconds_per_clip: float
    seconds_per_megapixel_frame: float
    bytes_per_megapixel_frame: float
    spread: float = ONE_NIGHT  # uncertainty on each side, as a share
    start_seconds: float = 0.0  # once per worker
    basis: str = "trial"

    def of(self, clips: float, work: Band) -> Band:
        """Worker-seconds for a number of clips with `work` megapixel-frames in total."""
        fixed = self.seconds_per_clip * clips
        found = work * self.seconds_per_megapixel_frame + Band(fixed, fixed, fixed)
        return found.widened(self.spread)


class Night(NamedTuple):
    """The work and the time of one run, for the clips of one recipe."""

    clips: int
    megapixel_frames: float
    stage_seconds: float  # of all stages but the survey, summed over the clips
    slope: float | None  # of stage seconds over megapixel-frames, clip by clip
    worker_seconds: float  # wall-clock seconds times workers, share of this recipe

    def cost(self) -> tuple[float, float]:
        """Worker-seconds per clip and per megapixel-frame."""
        scale = self.worker_seconds / self.stage_seconds
        slope = self.slope or 0.0
        fixed = (self.stage_seconds - slope * self.megapixel_frames) / self.clips
        if slope <= 0 or fixed < 0:
            return 0.0, self.worker_seconds / self.megapixel_frames
        return fixed * scale, slope * scale


def from_nights(nights: Sequence[Night], bytes_per_megapixel_frame: float) -> Cost:
    """The cost measured in earlier runs: their mean, weighted by their work."""
    work = sum(night.megapixel_frames for night in nights)
    costs = [night.cost() for night in nights]
    fixed, slope = (
        sum(c[part] * n.megapixel_frames for c, n in zip(costs, nights, strict=True)) / work
        for part in (0, 1)
    )
    misses = [n.worker_seconds / (fixed * n.clips + slope * n.megapixel_frames) for n in nights]
    spread = max(NARROWEST, 2 * statistics.stdev(misses)) if len(nights) > 1 else ONE_NIGHT
    basis = f"{len(nights)} run{'s' * (len(nights) > 1)} before"
    return Cost(fixed, slope, bytes_per_megapixel_frame, min(spread, 0.9), basis=basis)


class Trial(NamedTuple):
    """The work, the time and the output of a few frames on this machine, over all stages."""

    megapixel_frames: float
    worker_seconds: float
    output_bytes: int


def from_trials(pairs: Iterable[tuple[Trial, Trial]], start_seconds: float) -> Cost | None:
    """The cost from trials of a shorter and a longer piece of each clip. None without trials."""
    pairs = list(pairs)
    if not pairs:
        return None
    short, long = (
        [sum(values) for values in zip(*side, strict=True)] for side in zip(*pairs, strict=True)
    )
    slope = max(0.0, long[1] - short[1]) / (long[0] - short[0])
    fixed = max(0.0, long[1] - slope * long[0]) / len(pairs)
    size = max(0, long[2] - short[2]) / (long[0] - short[0])
    return Cost(fixed, slope, size, start_seconds=start_seconds)
