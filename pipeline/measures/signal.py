"""The signal of one frame, as the filter `signalstats` of FFmpeg and QCTools define it.

All values are on the 8-bit scale, for every bit depth. Every frame and every pixel is measured.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Plane, Planes

OUTLIER = 4  # code values by which a pixel stands out of those above and below it
REPEATED_AFTER = 4  # lines from a line to the one that it is compared with
REPEATED = 1.0  # code values: mean difference below which a line is a repetition
LUMA_RANGE, CHROMA_RANGE = (16, 235), (16, 240)  # nominal levels: ITU-R BT.601, table 3

Byte = NDArray[np.uint8]


def levels(luma: Plane, depth: int = 8) -> dict[str, float]:
    """YMIN, YLOW, YHIGH and YMAX of a plane (H, W) of `depth` bits: 0 to 255, on the 8-bit scale.

    YLOW is the least value at or below which a tenth of the pixels lie, YHIGH that of nine tenths.
    """
    values = 1 << depth
    counts = cv2.calcHist([luma], [0], None, [values], [0, values])
    below = np.cumsum(counts, dtype=np.int64)
    found = {
        "y_min": int(np.flatnonzero(counts)[0]),
        "y_low": int(np.searchsorted(below, round(luma.size * 0.1))),
        "y_high": int(np.searchsorted(below, round(luma.size * 0.9))),
        "y_max": int(np.flatnonzero(counts)[-1]),
    }
    return {name: value / (1 << (depth - 8)) for name, value in found.items()}


def saturation(planes: Planes, depth: int = 8) -> float:
    """SATAVG: mean distance of U and V from grey, code values of 8 bits, 0 to 181.

    The distance of each pixel is rounded down.
    """
    unit = 1 << (depth - 8)
    u, v = (np.asarray(plane, np.float32) / unit - 128 for plane in planes[1:3])
    return float(cv2.mean(np.floor(cv2.magnitude(u, v) + 1e-3))[0])


def temporal_outliers(luma: Byte) -> float:
    """TOUT: share of pixels that stand out of those above and below, 0 to 1. Luma (H, W), 8 bits.

    A pixel and both beside it must differ from the pixels one and two lines above and below by more
    than 4 code values, beyond what these differ from each other. It is made for dropouts of tape.
    In spite of its name it reads one frame.
    """
    height, width = luma.shape
    if height < 3 or width < 3:
        return 0.0
    near = _stands_out(luma, 1)  # of the lines from 1
    if height > 4:
        near[1:-1] &= _stands_out(luma, 2)
    three = near[:, :-2] & near[:, 1:-1] & near[:, 2:]
    return float(np.count_nonzero(three)) / luma.size


def _stands_out(luma: Byte, lines: int) -> NDArray[np.bool_]:
    above, here, below = luma[: -2 * lines], luma[lines:-lines], luma[2 * lines :]
    one, other = cv2.absdiff(above, here), cv2.absdiff(below, here)
    mean = (one & other) + ((one ^ other) >> 1)  # rounded down, without overflow
    return cv2.subtract(mean, cv2.absdiff(above, below)) > OUTLIER


def repeated_lines(luma: Byte) -> float:
    """VREP: share of lines that repeat the one 4 lines above, 0 to 1. Luma (H, W), 8 bits.

    A line is repeated if its mean absolute difference is below 1 code value. Time base correctors
    do so, and flat pictures.
    """
    if luma.shape[0] <= REPEATED_AFTER:
        return 0.0
    apart = cv2.absdiff(luma[REPEATED_AFTER:], luma[:-REPEATED_AFTER])
    means = cv2.reduce(apart, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S) / luma.shape[1]
    return float(np.count_nonzero(means < REPEATED)) / luma.shape[0]


def out_of_range(planes: Planes, depth: int = 8) -> float:
    """BRNG: share of pixels outside of the nominal range, 0 to 1. Planes Y, or Y, U and V.

    Nominal are 16 to 235 for Y and 16 to 240 for U and V, on the 8-bit scale.
    """
    unit = 1 << (depth - 8)
    out = _outside(planes[0], LUMA_RANGE, unit)
    for plane in planes[1:3]:
        far = _outside(plane, CHROMA_RANGE, unit)
        if far.any():
            out |= _as_large(far, out.shape)
    return float(np.count_nonzero(out)) / out.size


def _outside(plane: Plane, limits: tuple[int, int], unit: int) -> NDArray[np.bool_]:
    low, high = limits
    return np.asarray((plane < low * unit) | (plane > high * unit))


def _as_large(small: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Each sample of a subsampled plane for the pixels that it stands for."""
    down, right = -(-shape[0] // small.shape[0]), -(-shape[1] // small.shape[1])
    size = small.shape[1] * right, small.shape[0] * down
    large = cv2.resize(small.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return large[: shape[0], : shape[1]] > 0
