"""Frames that are no picture: leader and other flat frames, colour bars, slates.

They carry meaning for people and machines (levels, reel ends, titles of the tape) and are published
as they are. A frame is judged by its 8-bit luma, averaged over blocks, so that tape noise and dust
do not hide what it is; only runs of such frames count: a single black frame is damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

# What a run of frames can be, and the frames that it needs.
KINDS = {"flat": 8, "bars": 8, "slate": 24}

# A flat frame: blocks, without the outermost, that all but the extreme ones differ by at most this.
BLOCKS, BORDER, FLAT_SPREAD = (48, 36), 3, 8.0
# Bars: a band of the upper half in which every column is of one colour, and the steps from one to
# the next all lead down, or all lead up.
BAND, COLUMNS, EVEN, STEP, LEAST_BARS = slice(3, 12), 80, 4.0, 6.0, 6
PLATEAU = 5  # columns of the narrowest bar
# A slate: nothing moves at all, not even grain, and most of it is even ground. Against the frame
# that it began with: the mean change, and the share of samples that change by more than a little.
SAME, LITTLE, CHANGED_SHARE = 0.3, 4, 2e-4
EVEN_SHARE, EVEN_STEP = 0.6, 2


class Left(NamedTuple):
    """Frames [start, stop) that are left as they are, and why: one of KINDS."""

    start: int
    stop: int
    kind: str


class LeaderMeter:
    """Takes the 8-bit luma of frames in order; holds one of them, and a word for each."""

    def __init__(self) -> None:
        self._began: NDArray[np.int16] | None = None  # the frame that nothing has moved since
        self._first = 0
        self._kinds: list[tuple[str, int]] = []  # with the number of the frame a slate began with

    def add(self, luma: Luma) -> str:
        """Takes the next frame, (H, W); returns what it looks like, `` for a picture."""
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

    def finish(self) -> list[Left]:
        """The runs that are left as they are, in order."""
        runs, start = [], 0
        for (kind, _), frames in groupby(self._kinds):
            stop = start + len(list(frames))
            if kind and stop - start >= KINDS[kind]:
                runs.append(Left(start, stop, kind))
            start = stop
        return runs


def _same(first: NDArray[np.int16], second: NDArray[np.int16]) -> bool:
    change = np.abs(first - second)
    return bool(change.mean() <= SAME and (change > LITTLE).mean() <= CHANGED_SHARE)


def _flat(luma: Luma) -> bool:
    small = cv2.resize(luma, BLOCKS, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small[BORDER:-BORDER, BORDER:-BORDER], (1, 99))
    return bool(high - low <= FLAT_SPREAD)


def _bars(luma: Luma) -> bool:
    band = cv2.resize(luma, (COLUMNS, 24), interpolation=cv2.INTER_AREA)[BAND].astype(np.float32)
    if float((np.ptp(band, axis=0) > 2 * EVEN).mean()) > 0.1:  # edges between bars may be soft
        return False
    levels = _plateaus(band.mean(axis=0))
    return max(_longest_fall(levels), _longest_fall(levels[::-1])) >= LEAST_BARS


def _plateaus(profile: NDArray[Any]) -> list[float]:
    """The levels of all stretches of at least PLATEAU columns that are even."""
    edges = np.flatnonzero(np.abs(np.diff(profile)) > EVEN) + 1
    parts = np.split(profile, edges)
    return [float(part.mean()) for part in parts if len(part) >= PLATEAU and np.ptp(part) <= 8]


def _longest_fall(levels: Sequence[float]) -> int:
    """How many levels in a row each lie at least STEP below the one before."""
    longest = length = min(1, len(levels))
    for before, after in pairwise(levels):
        length = length + 1 if after <= before - STEP else 1
        longest = max(longest, length)
    return longest


def _even_ground(sparse: NDArray[np.int16]) -> bool:
    across = np.abs(np.diff(sparse, axis=1))[:-1] <= EVEN_STEP
    down = np.abs(np.diff(sparse, axis=0))[:, :-1] <= EVEN_STEP
    return float((across & down).mean()) >= EVEN_SHARE
