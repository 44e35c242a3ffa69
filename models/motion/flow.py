"""Optical flow by OpenCV's DIS (Kroeger et al., ECCV 2016), for pictures of every shape, and warps
by it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# DIS takes its number of scales from the width alone, and crashes if one of them has no rows.
LEAST_ROWS = 32
REFINEMENTS = {"coarse": 0, "medium": 3, "fine": 12}  # variational refinements of each flow preset
OPENCV = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,  # for restored frames
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,  # for training, which aligns many windows
}

Luma = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2) in pixels


def flow_search(preset: str) -> cv2.DISOpticalFlow:
    """DIS flow of a preset: a key of OPENCV or of REFINEMENTS."""
    if preset in OPENCV:
        return cv2.DISOpticalFlow_create(OPENCV[preset])
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setPatchStride(4)  # these three settings halve the time and cost at most 0.02 dB
    dis.setGradientDescentIterations(12)
    dis.setVariationalRefinementIterations(REFINEMENTS[preset])
    return dis


def dis_flow(search: cv2.DISOpticalFlow, one: Luma, other: Luma) -> Flow:
    """Flow from one picture to the other. Low pictures are continued below their last row."""
    rows = one.shape[0]
    if rows >= LEAST_ROWS:
        return search.calc(one, other, None)
    one, other = (
        np.pad(luma, ((0, LEAST_ROWS - rows), (0, 0)), mode="edge") for luma in (one, other)
    )
    return np.ascontiguousarray(search.calc(one, other, None)[:rows])


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> NDArray[np.float32]:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def warp(image: NDArray[Any], flow: Flow, cubic: bool = False) -> NDArray[Any]:
    """``image`` sampled at ``x + flow(x)``; flow is (H, W, 2) in pixels.

    Bilinear, or ``cubic``, which keeps the finest detail. Edges are replicated.
    """
    where, kernel = _grid(*flow.shape[:2]) + flow, cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    moved: NDArray[Any] = cv2.remap(image, where, None, kernel, borderMode=cv2.BORDER_REPLICATE)
    return moved
