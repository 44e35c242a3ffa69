"""Find cuts: lasting changes of content that motion does not explain.

Two frames are compared as small pictures, in two ways: by rank of brightness, which ignores
exposure and contrast, and by local contrast, which ignores lighting. Optical flow first moves the
later picture onto the earlier one, so that pans and running people cancel. The difference is 1 -
correlation: 0 for the same view, about 0.8 for another view.

Across a cut, every pair of frames differs. The score of a cut before frame i is therefore the
smallest difference between a frame before i and a frame from i on, at most `SPAN` frames apart. One
or two damaged frames, a flash or a jump of the exposure leave one pair that matches. A cut must
also stand out from the scores around it.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma8

WIDTH, HEIGHT = 96, 54
# Largest distance of two compared frames. Damage of up to SPAN - 1 frames is not a shot.
SPAN = 3
# A difference below this is no cut. Optical flow is then not computed.
STILL = 0.1
# A cut scores at least LEAST, and more than FACTOR times its surroundings plus MARGIN. The
# surroundings are the median of AROUND scores on each side.
LEAST = 0.3
FACTOR = 1.5
MARGIN = 0.15
AROUND = 6


class _View(NamedTuple):
    """One frame for comparison: brightness ranks and local contrast, (HEIGHT, WIDTH) uint8 each."""

    ranks: Luma8
    contrast: Luma8


class ShotDetector:
    """Finds the shots of a clip, frame by frame. Memory: one number per frame."""

    def __init__(self) -> None:
        self._recent: deque[_View] = deque(maxlen=SPAN)
        self._scores: list[float] = []
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
        self._columns, self._rows = columns.astype(np.float32), rows.astype(np.float32)

    def add(self, luma: NDArray[Any]) -> None:
        """Compare the next frame, (H, W) 8-bit luma, with those before."""
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
        """(T,) score of a cut before each frame. The first frame has 0."""
        scores = np.array(self._scores)
        scores[:1] = 0
        return scores

    def finish(self) -> list[range]:
        """The shots, in order, as ranges that cover every frame."""
        scores = self.scores()
        cuts = [index for index in range(1, len(scores)) if _stands_out(scores, index)]
        edges = [0, *cuts, len(scores)]
        return [range(start, stop) for start, stop in pairwise(edges) if start < stop]

    def _difference(self, before: _View, after: _View) -> float:
        """0 for the same view, even if things move or light changes; about 0.8 for another one."""
        if _unlike(before.ranks, after.ranks) <= STILL:
            return _unlike(before.ranks, after.ranks)
        pairs = zip(before, after, strict=True)
        return float(np.mean([self._unlike_moved(first, second) for first, second in pairs]))

    def _unlike_moved(self, before: Luma8, after: Luma8) -> float:
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
    """1 - correlation of two pictures: 0 if equal, 1 if unrelated, at most 2."""
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
