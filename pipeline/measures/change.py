"""How far a restored frame lies from its source. Every function compares the two frames."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.colour import PixelFormat
from pipeline.clip.frames import Luma, Planes

COLOUR_COLUMNS = 80  # at which colours are compared
LEAST_EDGE = 8.0  # code values of gradient over 2 pixels
SUPPORT = 0.4  # of the gradient of an edge: what the source must have near it
NEAR = 5  # pixels: side of the place where the source may have the edge
OWN = 0.25  # of the source's step at a place: what is no seam
RUN = 4  # parts of a line: a seam goes through one of them at least
NAN = float("nan")

Box = tuple[int, int, int, int]  # x, y, width, height
Lab = NDArray[np.float32]


class Seam(NamedTuple):
    """The step of the change, code values, and the place where it is (pixels of the frame)."""

    step: float
    box: Box


def colour_difference(before: Planes, after: Planes, pixels: PixelFormat) -> tuple[float, float]:
    """CIE76: mean and 95 % quantile of the distance of two frames in CIELAB, 0 to about 370.

    ISO/CIE 11664-4, with the colours of sRGB and white D65. About 2.3 is just visible (Mahy et al.
    1994). Measured on means at 80 columns, so grain does not count.
    """
    one, other = (_lab(planes, pixels) for planes in (before, after))
    apart = np.sqrt(np.square(one - other).sum(axis=2))
    return float(apart.mean()), float(np.quantile(apart, 0.95))


def _lab(planes: Planes, pixels: PixelFormat) -> Lab:
    height, width = planes[0].shape
    size = min(COLOUR_COLUMNS, width), max(round(height * min(COLOUR_COLUMNS / width, 1)), 1)
    shown = planes[: 1 if pixels.family == "gray" else 3]
    small = tuple(
        cv2.resize(np.asarray(plane, np.float32), size, interpolation=cv2.INTER_AREA)
        for plane in shown
    )
    rgb = np.clip(pixels.to_rgb(small), 0, 1)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)


def new_edges(source: Luma, restored: Luma) -> float:
    """Share of the restored frame's edges that the source has not, 0 to 1. Small frames (H, W).

    An edge is a pixel with a gradient of 8 code values or more after a blur of 3x3. The source has
    it if its gradient within 2 pixels is 0.4 times as strong. NaN on a frame without edges.
    """
    has = _gradient(restored)
    edges = has > LEAST_EDGE
    count = np.count_nonzero(edges)
    if count < max(edges.size // 1000, 8):
        return NAN
    if restored is source:
        return 0.0
    had = _gradient(source)
    near = cv2.dilate(had, np.ones((NEAR, NEAR), np.uint8))
    return float(np.count_nonzero(edges & (near < SUPPORT * has))) / count


def _gradient(luma: Luma) -> Luma:
    smooth = cv2.blur(luma, (3, 3))
    step = np.array([[-1, 0, 1]], np.float32)
    x, y = (cv2.filter2D(smooth, -1, kernel) for kernel in (step, step.T))
    return np.asarray(cv2.magnitude(x, y), np.float32)


def seam(before: Luma, after: Luma) -> Seam | None:
    """The largest straight step of the change through a quarter of a line: code values, from 0.

    A border of tiles, or of a part that was restored apart, is such a step. On each side the change
    is averaged over a quarter of the height or width and 4 pixels, near the step and again 4 pixels
    further off. The smallest of the four differences counts, so a repaired line or spot is no step.
    A quarter of the source's own step there is taken away, so that other exposure of an edge is
    none. None on a frame that is too small.
    """
    pair = [np.asarray(frame, np.float32) for frame in (before, after)]
    one, other = (frame[::2] for frame in pair)  # every other line is enough
    before, after = (np.ascontiguousarray(frame[:, ::2].T) for frame in pair)
    found = [_steps(one, other, False), _steps(before, after, True)]
    return max((one for one in found if one is not None), default=None)


def _steps(before: Luma, after: Luma, turned: bool) -> Seam | None:
    height, width = before.shape
    if height < 2 * RUN or width < 32:
        return None
    rows = height // RUN * RUN
    source, restored = (
        cv2.resize(frame[:rows], (width, RUN), interpolation=cv2.INTER_AREA)
        for frame in (before, after)
    )
    steps = _differences(np.asarray(restored - source, np.float32))
    same = (steps > 0).all(0) | (steps < 0).all(0)
    own = np.abs(_differences(np.asarray(source, np.float32))).max(0)
    least = np.where(same, np.maximum(np.abs(steps).min(0) - OWN * own, 0), 0)
    strip, column = divmod(int(least.argmax()), least.shape[1])
    run, at = 2 * rows // RUN, column + 8
    box = (at - 4, strip * run, 8, run) if not turned else (strip * run, at - 4, run, 8)
    return Seam(float(least[strip, column]), box)


def _differences(strips: Luma) -> Luma:
    """The four differences across each column from the eighth: (4, RUN, columns)."""
    sums = np.cumsum(np.pad(strips, ((0, 0), (1, 0))), axis=1)
    means = (sums[:, 4:] - sums[:, :-4]) / 4  # from this column, 4 columns
    places = np.arange(8, strips.shape[1] - 7)
    left, far_left = means[:, places - 4], means[:, places - 8]
    right, far_right = means[:, places], means[:, places + 4]
    return np.stack([right - left, far_right - far_left, right - far_left, far_right - left])
