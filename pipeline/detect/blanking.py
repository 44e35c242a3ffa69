"""Find the edges of a clip that hold no picture: black bars, blanking, lines that carry data.

The edges are measured over the whole clip and published unchanged. A letterbox stays black, and
captions, timecode and test signals in the first lines stay readable for machines.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.blanking import Blanking
from pipeline.clip.frames import Luma8

# A line is dark if no AVERAGED neighbouring samples ever have a mean above DARK (8-bit values).
DARK, AVERAGED = 26, 8
# Largest share of the height, or width, that a dark edge may take.
DEEPEST = 0.45
# Lines that may carry data, as a share of the height, at the top and at the bottom. Among them, all
# lines outside of a dark line are no picture. A line with contrast, but without correlation to the
# next line of its field, carries data.
DATA_SHARE, CONTRAST, UNLIKE = 1 / 16, 12.0, 0.3
# A clip with fewer frames, or without a sample above BRIGHT, is not judged.
LEAST_FRAMES, BRIGHT = 8, 64


class BlankingMeter:
    """Measures the 8-bit luma of frames. Memory: a few numbers for each line and column."""

    def __init__(self) -> None:
        self._frames = 0
        self._rows = self._columns = np.zeros(0, np.uint8)  # largest mean of each so far
        self._likeness = np.zeros((2, 0))  # (edge, line) for the lines that may carry data
        self._seen = np.zeros((2, 0), int)

    def add(self, luma: Luma8) -> None:
        """Measure the next frame."""
        height, width = luma.shape
        if self._frames == 0:
            self._rows, self._columns = np.zeros(height, np.uint8), np.zeros(width, np.uint8)
            lines = int(height * DATA_SHARE)
            self._likeness, self._seen = np.zeros((2, lines)), np.zeros((2, lines), int)
        self._frames += 1
        size = max(1, width // AVERAGED), max(1, height // AVERAGED)
        across = cv2.resize(luma, (size[0], height), interpolation=cv2.INTER_AREA)
        down = cv2.resize(luma, (width, size[1]), interpolation=cv2.INTER_AREA)
        self._rows = np.maximum(self._rows, across.max(axis=1))
        self._columns = np.maximum(self._columns, down.max(axis=0))
        for edge, rows in enumerate((across, across[::-1])):
            self._compare(edge, rows[: self._seen.shape[1] + 2].astype(np.float64))

    def _compare(self, edge: int, rows: NDArray[np.float64]) -> None:
        """Compare each line with the next line inwards of the same field."""
        centred = rows - rows.mean(axis=1, keepdims=True)
        spread = centred.std(axis=1)
        likeness = (centred[:-2] * centred[2:]).mean(axis=1)
        likeness /= np.maximum(spread[:-2] * spread[2:], 1.0)
        shown = spread[:-2] >= CONTRAST
        self._likeness[edge] += np.where(shown, likeness, 0)
        self._seen[edge] += shown

    def finish(self) -> Blanking:
        """The edges where no frame showed a picture."""
        if self._frames < LEAST_FRAMES or self._rows.max() < BRIGHT:
            return Blanking()
        rows, columns = self._rows <= DARK, self._columns <= DARK
        return Blanking(
            self._lines(0, rows), self._lines(1, rows[::-1]), _depth(columns), _depth(columns[::-1])
        )

    def _lines(self, edge: int, dark: NDArray[np.bool_]) -> int:
        likeness = self._likeness[edge] / np.maximum(self._seen[edge], 1)
        enough = self._seen[edge] >= max(LEAST_FRAMES, self._frames / 4)
        data = enough & (likeness < UNLIKE)
        outside = np.flatnonzero(dark[: len(data)] | data)
        return max(_depth(dark), int(outside[-1]) + 1 if len(outside) else 0)


def _depth(dark: NDArray[np.bool_]) -> int:
    """The number of dark lines from the edge inwards. 0 if too few lines remain for a picture."""
    depth = len(dark) if dark.all() else int(np.argmin(dark))
    return depth if depth <= DEEPEST * len(dark) else 0
