"""Optical flow by OpenCV's DIS (Kroeger et al., ECCV 2016), for pictures of every shape."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# DIS takes its number of scales from the width alone, and crashes if one of them has no rows.
LEAST_ROWS = 32

Luma = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2) in pixels


def dis_flow(search: cv2.DISOpticalFlow, one: Luma, other: Luma) -> Flow:
    """Flow from one picture to the other. Low pictures are continued below their last row."""
    rows = one.shape[0]
    if rows >= LEAST_ROWS:
        return search.calc(one, other, None)
    one, other = (
        np.pad(luma, ((0, LEAST_ROWS - rows), (0, 0)), mode="edge") for luma in (one, other)
    )
    return np.ascontiguousarray(search.calc(one, other, None)[:rows])
