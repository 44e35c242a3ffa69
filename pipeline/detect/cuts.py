"""Cuts, found as the frames go by: lasting changes of content that motion does not explain.

Two frames are compared as small pictures, twice: by rank of brightness (blind to exposure and
contrast) and by local contrast (blind to lighting). Each time the later picture is first moved onto
the earlier one by optical flow, so that pans and running people cancel, and what is left is 1 -
correlation: 0 for the same view, about 0.8 for another. Every pair of frames across a cut differs,
so the score of a cut before frame i is the least of the differences between a frame before it and
one from it on, up to `SPAN` apart: one or two frames of damage, a flash or a jump of the exposure
leave a pair that matches. A cut must also stand out from the scores around it.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Shot", "ShotDetector"]

Luma = NDArray[np.uint8]

WIDTH, HEIGHT = 96, 54
# Frames a damage may last without being taken for a shot: one less.
SPAN = 3
# Without motion compensation differences below this are no cut, whatever the flow would say.
STILL = 0.1
# A cut scores at least this, and stands out from its surroundings by factor and margin.
LEAST = 0.3
FACTOR = 1.5
MARGIN = 0.15
# Scores each side whose median is the surroundings.
AROUND = 6


class Shot(NamedTuple):
    """Frames [start, stop) between two cuts."""

    start: int
    stop: int


class _View(NamedTuple):
    """One frame as compared: brightness ranks and local contrast, (HEIGHT, WIDTH) uint8 each."""

    ranks: Luma
    contrast: Luma


class ShotDetector:
    """Takes frames in order; memory does not grow but for one number per frame."""

    def __init__(self) -> None:
        self._recent: deque[_View] = deque(maxlen=SPAN)
        self._scores: list[float] = []
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
        self._columns, self._rows = columns.astype(np.float32), rows.astype(np.float32)

    def add(self, luma: NDArray[Any]) -> None:
        """Takes the next frame, (H, W) 8-bit luma."""
        view = _view(luma)
        now = len(self._scores)
        self._scores.append(np.inf)
        for distance, earlier in enumerate(reversed(self._recent), start=1):
            crossed = range(max(now - distance + 1, 0), now + 1)
            if max(self._scores[cut] for cut in crossed) <= STILL:
                continue
            difference = self._difference(earlier, view)
            for cut in crossed:
                self._scores[cut] = min(self._scores[cut], difference)
        self._recent.append(view)

    def scores(self) -> NDArray[np.float64]:
        """The score of a cut before each frame so far, (T,); 0 for the first."""
        scores = np.array(self._scores)
        scores[:1] = 0
        return scores

    def finish(self) -> list[Shot]:
        """The shots, in order, covering every frame."""
        scores = self.scores()
        cuts = [index for index in range(1, len(scores)) if _stands_out(scores, index)]
        edges = [0, *cuts, len(scores)]
        return [Shot(start, stop) for start, stop in pairwise(edges) if start < stop]

    def _difference(self, before: _View, after: _View) -> float:
        """0 for the same view, whatever moved or changed its light; about 0.8 for another one."""
        if _unlike(before.ranks, after.ranks) <= STILL:
            return _unlike(before.ranks, after.ranks)
        pairs = zip(before, after, strict=True)
        return float(np.mean([self._unlike_moved(first, second) for first, second in pairs]))

    def _unlike_moved(self, before: Luma, after: Luma) -> float:
        flow = self._flow.calc(before, after, None)
        moved: NDArray[Any] = cv2.remap(
            after,
            self._columns + flow[..., 0],
            self._rows + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return _unlike(before, moved)


def _view(luma: NDArray[Any]) -> _View:
    small = cv2.resize(luma, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    soft = cv2.GaussianBlur(small, (0, 0), 1.2)
    ranks = np.empty(soft.size, np.float32)
    ranks[np.argsort(soft, axis=None, kind="stable")] = np.arange(soft.size)
    ranks *= 255 / soft.size
    crisp = cv2.GaussianBlur(small, (0, 0), 1.0)
    detail = crisp - cv2.GaussianBlur(crisp, (0, 0), 6)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 6))
    contrast = np.clip(128 + 50 * detail / (strength + 3), 0, 255)
    return _View(ranks.reshape(soft.shape).astype(np.uint8), contrast.astype(np.uint8))


def _unlike(first: NDArray[Any], second: NDArray[Any]) -> float:
    """1 - correlation of two pictures: 0 for equal ones, 1 for unrelated ones, up to 2."""
    a = first.astype(np.float32)
    b = second.astype(np.float32)
    a -= a.mean()
    b -= b.mean()
    energy = float(np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
    return 1 - float(np.vdot(a, b)) / energy if energy else float(first.any() != second.any())


def _stands_out(scores: NDArray[np.float64], index: int) -> bool:
    near = np.r_[scores[max(1, index - AROUND) : index], scores[index + 1 : index + 1 + AROUND]]
    surroundings = float(np.median(near)) if len(near) else 0.0
    return bool(scores[index] > max(LEAST, FACTOR * surroundings + MARGIN))
