"""Masks of a frame: grown, softened, and taken apart into what is connected."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.fidelity.compared import Plane
from models.fidelity.regions import Mask
from models.frame_state import Box

LEAST_AREA = 6  # pixels of a part that counts
MARGIN = 2  # pixels around a suspect that keep the source as well


def dilated(mask: Mask, side: int) -> Mask:
    """A mask with all pixels that have one of its pixels in the square around them."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def soft(mask: Mask) -> Plane:
    """A mask as a weight in [0, 1] with a soft edge."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)


def suspect_share(suspects: Mask) -> Plane:
    """The share of the source in a picture with suspects, (H, W) in [0, 1]."""
    return soft(dilated(suspects, 2 * MARGIN + 1))


def parts_of(mask: Mask) -> tuple[NDArray[np.int32], list[tuple[int, Box]]]:
    """The labels (H, W) of a mask's connected parts, and the label and box of each large one."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    parts: list[tuple[int, Box]] = []
    for label in range(1, count):
        x, y, wide, high, area = (int(value) for value in boxes[label])
        if area >= LEAST_AREA:
            parts.append((label, (x, y, wide, high)))
    return labels, parts


def pixels_of(labels: NDArray[np.int32], label: int, box: Box) -> tuple[tuple[slice, slice], Mask]:
    """The window of a box, and the pixels of a label in it."""
    x, y, wide, high = box
    window = slice(y, y + high), slice(x, x + wide)
    return window, labels[window] == label


def commonest(of: NDArray[np.int32], labels: NDArray[np.int32], label: int, box: Box) -> int:
    """The label of the region that most of a part's pixels belong to; 0 for none."""
    window, own = pixels_of(labels, label, box)
    return int(np.bincount(of[window][own]).argmax())
