"""Lines and columns at the edges that are no picture: black bars, blanking, lines that carry data.

They are measured over a whole clip and published as they are: a letterbox stays black, and
captions, timecode and test signals in the first lines stay readable to machines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = tuple[NDArray[Any], ...]

# An edge line is dark when no eight samples beside each other ever average above this (8 bits);
# dark lines reach at most so far into the picture.
DARK, AVERAGED, DEEPEST = 26, 8, 0.45
# Lines that may carry data: so many at the top and at the bottom. All that lies outside of a dark
# line among them is no picture, nor is what differs from the line beside it as text from a picture:
# with contrast, but without correlation.
DATA_SHARE, CONTRAST, UNLIKE = 1 / 16, 12.0, 0.3
# What can be told needs frames, and light in them.
LEAST_FRAMES, BRIGHT = 8, 64


class Blanking(NamedTuple):
    """Lines above and below the picture, columns left and right of it."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __str__(self) -> str:
        return " ".join(map(str, self))

    def of_field(self, parity: int, height: int) -> Blanking:
        """The same edges in the field of one parity of frames of that height."""
        lines = np.arange(parity, height, 2)
        top, bottom = (lines < self.top).sum(), (lines >= height - self.bottom).sum()
        return Blanking(int(top), int(bottom), self.left, self.right)

    def kept(self, source: Planes, restored: Planes) -> Planes:
        """The restored planes within edges of the source's own samples."""
        if not any(self):
            return restored
        height, width = source[0].shape
        planes = []
        for before, after in zip(source, restored, strict=True):
            rows, columns = before.shape
            top, bottom = (-(-edge * rows // height) for edge in (self.top, self.bottom))
            left, right = (-(-edge * columns // width) for edge in (self.left, self.right))
            inside = slice(top, rows - bottom), slice(left, columns - right)
            plane = before.copy()
            plane[inside] = after[inside]
            planes.append(plane)
        return tuple(planes)


class BlankingMeter:
    """Takes the 8-bit luma of frames; holds a few numbers for each line and column."""

    def __init__(self) -> None:
        self._frames = 0
        self._rows = self._columns = np.zeros(0, np.uint8)  # the brightest of each, ever
        self._likeness = np.zeros((2, 0))  # of the lines that may carry data, from each edge
        self._seen = np.zeros((2, 0), int)

    def add(self, luma: NDArray[np.uint8]) -> None:
        """Takes a frame, (H, W)."""
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
        """Each line with the next one inwards of the same field."""
        centred = rows - rows.mean(axis=1, keepdims=True)
        spread = centred.std(axis=1)
        likeness = (centred[:-2] * centred[2:]).mean(axis=1)
        likeness /= np.maximum(spread[:-2] * spread[2:], 1.0)
        shown = spread[:-2] >= CONTRAST
        self._likeness[edge] += np.where(shown, likeness, 0)
        self._seen[edge] += shown

    def finish(self) -> Blanking:
        """The edges that no frame had a picture in."""
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
    """How many are dark from the edge on; 0 where too many are for the rest to be a picture."""
    depth = len(dark) if dark.all() else int(np.argmin(dark))
    return depth if depth <= DEEPEST * len(dark) else 0
