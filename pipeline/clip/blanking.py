"""Edges of the frame that hold no picture: black bars, blanking, lines that carry data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.clip.frames import Planes


class Blanking(NamedTuple):
    """Lines above and below the picture, and columns left and right of it, in luma samples."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __str__(self) -> str:
        return " ".join(map(str, self))

    def of_field(self, parity: int, height: int) -> Blanking:
        """The same edges in the field of one parity. `height` is the height of the frame."""
        lines = np.arange(parity, height, 2)
        top, bottom = (lines < self.top).sum(), (lines >= height - self.bottom).sum()
        return Blanking(int(top), int(bottom), self.left, self.right)

    def hides(self, box: tuple[int, int, int, int], width: int, height: int) -> bool:
        """Whether a box (x, y, width, height) lies in the edges only, so that it stays unchanged.

        `width` and `height` are of the frame.
        """
        x, y, wide, high = box
        across = x + wide <= self.left or x >= width - self.right
        return across or y + high <= self.top or y >= height - self.bottom

    def kept(self, source: Planes, restored: Planes) -> Planes:
        """The restored planes, with the source's own samples at the edges."""
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
