"""A frame beside its neighbouring frames: planes (H, W) in code values, by which evidence is found.

One meaning, two forms: `Compared` by OpenCV, and `models.fidelity.on_device`, whose planes
come from a GPU (`Landed`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLUR = 0.8  # sigma in pixels: single grains do not stand out
EXPOSURE_SIGMA, EXPOSURE_STEP = 16.0, 9.0  # pixels over which exposure differs; code values at most
DISPLACED = 7, 15  # pixels: sides of the squares within which a displacement is looked for

Plane = NDArray[np.float32]  # (H, W) in code values
PlaneBeside = NDArray[np.float32] | NDArray[np.float16]  # the same, as it was landed


class Compared:
    """What a frame has that its two neighbours do not have."""

    def __init__(self, luma: Plane, raw: NDArray[np.float32]) -> None:
        """``luma`` is the frame's, (H, W), ``raw`` by how much it is brighter, (2, H, W)."""
        self.luma: NDArray[Any] = luma
        self.neighbours: NDArray[Any] = luma - raw  # their luma, (2, H, W)
        together = np.stack([blurred(plane) for plane in raw])
        exposure = np.stack([_exposure(plane) for plane in together])
        self.differences: NDArray[np.float32] = together - exposure  # (2, H, W)
        # The exposure: how much lighter the frame is than the mean of both.
        self.lighter: Plane | None = exposure.mean(0)
        self.stand_out: Plane = smaller(*self.differences)  # the smaller of both, with its sign

    def beyond(self, side: int) -> PlaneBeside:
        """How far each pixel is beyond all that both neighbours have in a square around it.

        Above it where the pixel is brighter, below it where it is darker; 0 or more.
        """
        square = np.ones((side, side), np.uint8)
        above = self.luma - np.maximum(*(cv2.dilate(one, square) for one in self.neighbours))
        below = np.minimum(*(cv2.erode(one, square) for one in self.neighbours)) - self.luma
        found: Plane = np.maximum(np.where(self.stand_out > 0, above, below), 0)
        return found

    @property
    def apart(self) -> PlaneBeside:
        """The larger difference from the neighbours."""
        found: Plane = np.abs(self.luma - self.neighbours).max(0)
        return found

    @property
    def slope(self) -> PlaneBeside:
        """How steeply what stands out rises, per pixel."""
        slopes = (
            cv2.Sobel(self.stand_out, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))
        )
        found: Plane = np.hypot(*slopes)
        return found


class Landed(Compared):
    """The same, and what the network took, computed on a GPU by `on_device`."""

    def __init__(
        self,
        lumas: NDArray[np.uint8],
        differences: NDArray[np.float32],
        stand_out: Plane,
        others: NDArray[np.float16],
    ) -> None:
        """``lumas`` (3, H, W) are the frame's and its neighbours'; ``others`` are the planes of
        `on_device.OTHERS`.
        """
        self.luma, self.neighbours = lumas[0], lumas[1:]
        self.differences, self.stand_out = differences, stand_out
        self.lighter = None  # it stays on the GPU
        self._others = others

    def beyond(self, side: int) -> PlaneBeside:
        return self._others[DISPLACED.index(side)]

    @property
    def apart(self) -> PlaneBeside:
        return self._others[2]

    @property
    def slope(self) -> PlaneBeside:
        return self._others[3]

    @property
    def removed(self) -> PlaneBeside:
        """How much brighter the source is than the network's picture."""
        return self._others[4]

    @property
    def change(self) -> PlaneBeside:
        """The same without exposure."""
        return self._others[5]


def smaller(first: Plane, second: Plane) -> Plane:
    """The smaller of two differences where both have the same sign, 0 elsewhere."""
    least = np.minimum(np.abs(first), np.abs(second))
    together: Plane = np.where(first * second > 0, np.copysign(least, first), 0).astype(np.float32)
    return together


def strip_exposure(source: NDArray[np.float32], image: NDArray[np.float32]) -> Plane:
    """How much brighter a picture (H, W, 3) is than another, without exposure, code values."""
    difference = blurred(luma_of(source) - luma_of(image))
    without: Plane = difference - _exposure(difference)
    return without


def luma_of(image: NDArray[np.float32]) -> Plane:
    """Mean of the channels, code values (H, W)."""
    mean: Plane = cv2.transform(image, np.full((1, 3), 255 / 3))
    return mean


def blurred(plane: Plane) -> Plane:
    """A plane without its single grains."""
    return cv2.GaussianBlur(plane, (0, 0), BLUR)


def quarter(plane: Plane) -> Plane:
    """A plane at a quarter of its size."""
    size = max(plane.shape[1] // 4, 1), max(plane.shape[0] // 4, 1)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _exposure(difference: Plane) -> Plane:
    """The smooth part of a difference: what flickers is no region.

    It has no detail, so it is found at a quarter of the size.
    """
    small = quarter(np.clip(difference, -EXPOSURE_STEP, EXPOSURE_STEP))
    smooth = cv2.GaussianBlur(small, (0, 0), EXPOSURE_SIGMA / 4)
    return cv2.resize(smooth, difference.shape[::-1], interpolation=cv2.INTER_LINEAR)
