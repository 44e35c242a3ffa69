"""The change map: how much each pixel of a published frame was altered, and why.

One byte for each square of 2 x 2 pixels: the reason in the upper two bits, the amount in the lower
six. The amount is the largest difference from the source in any plane, in code values of 8 bits,
rounded up, and stored as its number of binary digits: 1 is 1, 2 is 2 to 3, 3 is 4 to 7, up to 8.
It is taken from the planes that are published, so a byte is 0 exactly where all code values are the
source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Planes

Map = NDArray[np.uint8]  # (H, W) of a frame or a field, or half of that

UNCHANGED, ADJUSTED, REPAIRED, FILLED = range(4)  # reasons
REASONS = ("unchanged", "exposure, grain or coding", "repaired defect", "filled frame")
_AMOUNT = np.uint8(63)  # the bits of the amount
_DIGITS = np.array([value.bit_length() for value in range(256)], np.uint8)
# The byte of each amount by its reason; of 0 it is 0.
_ADJUSTED, _REPAIRED = (
    np.where(_DIGITS, _DIGITS | np.uint8(reason << 6), 0).astype(np.uint8)
    for reason in (ADJUSTED, REPAIRED)
)
DEFECT = 0.5  # weight from which a changed pixel counts as a repaired defect
SIDE = 2  # pixels of a frame, in each direction, for one byte


def change_map(
    source: Planes,
    published: Planes,
    bit_depth: int,
    defects: NDArray[np.float32] | None = None,
    filled: bool = False,
) -> Map:
    """A byte for each pixel (H, W). `defects` (H, W): how far a pixel counts as a defect, 0 to 1.

    A `filled` frame is changed everywhere: its source holds no picture.
    """
    height, width = source[0].shape
    unit = 1 << (bit_depth - 8)
    amount = np.zeros((height, width), np.uint8)
    for before, after in zip(source, published, strict=True):
        change = cv2.absdiff(before, after)
        if not cv2.hasNonZero(change):
            continue
        if unit > 1:
            change = -(-change.astype(np.int32) // unit)
            change = np.minimum(change, 255).astype(np.uint8)
        np.maximum(amount, _enlarged(change, height, width), out=amount)
    if filled:
        return np.maximum(_looked_up(amount, _DIGITS), 1) | np.uint8(FILLED << 6)
    if not cv2.hasNonZero(amount):
        return amount
    found = _looked_up(amount, _ADJUSTED)
    if defects is not None:
        repaired = (np.asarray(defects) >= DEFECT).view(np.uint8)
        cv2.copyTo(_looked_up(amount, _REPAIRED), repaired, found)
    return found


def _looked_up(amount: Map, table: Map) -> Map:
    return np.asarray(cv2.LUT(amount, table), np.uint8)


def halved(field_or_frame: Map, rows: bool = True) -> Map:
    """The map with one byte for each pair of columns, and if `rows`, for each pair of lines.

    A defect counts before any other reason, then the larger amount.
    """
    lines = _pairs(field_or_frame) if rows else field_or_frame
    if lines.shape[1] % 2:  # its last column stands alone
        lines = np.pad(lines, ((0, 0), (0, 1)))
    both = np.ascontiguousarray(lines).view(np.uint16)  # faster than every other byte
    return np.maximum(both & 255, both >> 8).astype(np.uint8)


def of_fields(top: Map, bottom: Map) -> Map:
    """The map of a frame from those of its fields, which have one byte for each pair of columns."""
    joined = top.copy()
    np.maximum(joined[: len(bottom)], bottom, out=joined[: len(bottom)])
    return joined


def amounts(found: Map) -> Map:
    """How much each pixel was changed at least, in code values of 8 bits: 0, 1, 2, 4, 8 to 128."""
    return np.array([0, *(1 << digit for digit in range(8))], np.uint8)[found & _AMOUNT]


def reasons(found: Map) -> Map:
    """Why: the number of one of REASONS."""
    return found >> np.uint8(6)


@dataclass
class ChangeSums:
    """Sums over maps, for the tables."""

    pixels: int = 0
    changed: int = 0
    repaired: int = 0

    def add(self, found: Map) -> None:
        """Count one map."""
        self.pixels += found.size
        self.changed += int(np.count_nonzero(found))
        self.repaired += int(np.count_nonzero(reasons(found) == REPAIRED))

    @property
    def share_changed(self) -> float:
        """The share of the pixels that were changed, 0 to 1."""
        return round(self.changed / max(self.pixels, 1), 6)

    @property
    def share_repaired(self) -> float:
        """The share of the pixels that were changed as defects, 0 to 1."""
        return round(self.repaired / max(self.pixels, 1), 6)


def _enlarged(plane: Map, height: int, width: int) -> Map:
    """A plane, or a subsampled one with each sample repeated, at (height, width)."""
    down, right = -(-height // plane.shape[0]), -(-width // plane.shape[1])
    if (down, right) == (1, 1):
        return plane
    size = plane.shape[1] * right, plane.shape[0] * down
    large: NDArray[Any] = cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST)
    return large[:height, :width].astype(np.uint8)


def _pairs(plane: Map) -> Map:
    """The larger of each pair of lines; the last line alone if their number is odd."""
    upper, lower = plane[0::2], plane[1::2]
    found: Map = upper.copy()
    np.maximum(found[: len(lower)], lower, out=found[: len(lower)])
    return found
