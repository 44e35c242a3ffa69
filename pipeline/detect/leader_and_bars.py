"""Find frames that hold no picture: leader and other flat frames, colour bars, slates.

These frames mean something to people and machines (levels, reel ends, titles of the tape). They are
published unrestored. A frame is judged by its 8-bit luma, averaged over blocks, so that tape noise
and dust do not matter. Only runs of such frames count: a single black frame is damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma8

# Kinds of runs, and the frames that each needs at least.
KINDS = {"flat": 8, "bars": 8, "slate": 24}

# A flat frame, in blocks without BORDER blocks at each edge: the 1st and the 99th percentile of the
# block means are at most FLAT_SPREAD apart.
BLOCKS, BORDER, FLAT_SPREAD = (48, 36), 3, 8.0
# Bars: in a band of the upper half every column has one level, and at least LEAST_BARS levels in a
# row fall, or rise, by STEP or more.
BAND, COLUMNS, EVEN, STEP, LEAST_BARS = slice(3, 12), 80, 4.0, 6.0, 6
PLATEAU = 5  # columns of the narrowest bar
# A slate: nothing moves, not even grain, and most of it is even ground. Compared with the first
# frame of the run, the mean change is at most SAME, and at most CHANGED_SHARE of the samples change
# by more than LITTLE.
SAME, LITTLE, CHANGED_SHARE = 0.3, 4, 2e-4
EVEN_SHARE, EVEN_STEP = 0.6, 2


class NonPicture(NamedTuple):
    """Frames [start, stop) that are published unrestored, and why: one of KINDS."""

    start: int
    stop: int
    kind: str


class LeaderMeter:
    """Judges the 8-bit luma of frames in order. Memory: one frame, and one word per frame."""

    def __init__(self) -> None:
        self._began: NDArray[np.int16] | None = None  # first frame of the still run
        self._first = 0
        self._kinds: list[tuple[str, int]] = []  # (kind, first frame of the slate)

    def add(self, luma: Luma8) -> str:
        """Judge the next frame. Returns its kind, or an empty text for a picture."""
        sparse = luma[::2, ::2].astype(np.int16)
        still = self._began is not None and _same(sparse, self._began)
        if not still:
            self._began, self._first = sparse, len(self._kinds)
        if _flat(luma):
            kind = "flat"
        elif _bars(luma):
            kind = "bars"
        else:
            kind = "slate" if still and _even_ground(sparse) else ""
            if kind and not self._kinds[-1][0]:
                self._kinds[-1] = kind, self._first  # the frame that this one repeats
        self._kinds.append((kind, self._first if kind == "slate" else 0))
        return kind

    def finish(self) -> list[NonPicture]:
        """The runs that are published unrestored, in order."""
        runs, start = [], 0
        for (kind, _), frames in groupby(self._kinds):
            stop = start + len(list(frames))
            if kind and stop - start >= KINDS[kind]:
                runs.append(NonPicture(start, stop, kind))
            start = stop
        return runs


def _same(first: NDArray[np.int16], second: NDArray[np.int16]) -> bool:
    change = np.abs(first - second)
    return bool(change.mean() <= SAME and (change > LITTLE).mean() <= CHANGED_SHARE)


def _flat(luma: Luma8) -> bool:
    small = cv2.resize(luma, BLOCKS, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small[BORDER:-BORDER, BORDER:-BORDER], (1, 99))
    return bool(high - low <= FLAT_SPREAD)


def _bars(luma: Luma8) -> bool:
    band = cv2.resize(luma, (COLUMNS, 24), interpolation=cv2.INTER_AREA)[BAND].astype(np.float32)
    if float((np.ptp(band, axis=0) > 2 * EVEN).mean()) > 0.1:  # edges between bars may be soft
        return False
    levels = _plateaus(band.mean(axis=0))
    return max(_longest_fall(levels), _longest_fall(levels[::-1])) >= LEAST_BARS


def _plateaus(profile: NDArray[Any]) -> list[float]:
    """The level of each even stretch of at least PLATEAU columns."""
    edges = np.flatnonzero(np.abs(np.diff(profile)) > EVEN) + 1
    parts = np.split(profile, edges)
    return [float(part.mean()) for part in parts if len(part) >= PLATEAU and np.ptp(part) <= 8]


def _longest_fall(levels: Sequence[float]) -> int:
    """The longest run of levels that each lie at least STEP below the one before."""
    longest = length = min(1, len(levels))
    for before, after in pairwise(levels):
        length = length + 1 if after <= before - STEP else 1
        longest = max(longest, length)
    return longest


def _even_ground(sparse: NDArray[np.int16]) -> bool:
    across = np.abs(np.diff(sparse, axis=1))[:-1] <= EVEN_STEP
    down = np.abs(np.diff(sparse, axis=0))[:, :-1] <= EVEN_STEP
    return float((across & down).mean()) >= EVEN_SHARE
