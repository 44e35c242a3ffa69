"""The regions of a frame that stand out of both neighbouring frames, and what is measured of each.

A pixel stands out by the smaller of its differences from the frame before and the frame after,
where both have the same sign (the detector SDIp; Kokaram, Motion Picture Restoration, 1998). Dust
stands out. So does a limb in fast motion, whose match failed. Six measures tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import Box, FrameState

BLUR = 0.8  # sigma in pixels: single grains do not stand out
EXPOSURE_SIGMA, EXPOSURE_STEP = 16.0, 9.0  # pixels over which exposure differs; code values at most
# Code values by which a region stands out: at each pixel, and at its furthest pixel. The larger of
# the first number, and of the second times the noise.
REGION_FROM, PEAK_FROM = (6.0, 1.5), (9.0, 2.5)
LEAST_AREA = 6  # pixels
DISPLACED = 7, 15  # pixels: sides of the squares within which a displacement is looked for
AGAIN = 9  # pixels: side of the square within which something stands out again
CROWDED = 2.0  # surroundings of a region that has other regions all around it
RING = 5, 15  # pixels: sides of the squares between which a region's surroundings lie
REPEATED = 0.2  # of the pixels that differ from one neighbour: as few differ from a repetition
EDGE = 2  # pixels from the frame's edge within which a region may be cut off

Plane = NDArray[np.float32]  # (H, W) in code values
Mask = NDArray[np.bool_]


class Measures(NamedTuple):
    """What tells a defect from a thing, one value for each region, (N,).

    The first five are shares of how far a region stands out.
    """

    unexplained: NDArray[np.float64]  # that no displacement within 7 pixels explains
    unlike: NDArray[np.float64]  # that none within 15 pixels explains
    moved: NDArray[np.float64]  # by which the network moves it towards its neighbours
    surroundings: NDArray[np.float64]  # by which its surroundings differ from the neighbours
    sharp: NDArray[np.float64]  # slope of its rim, per pixel
    again: NDArray[np.float64]  # share where something stands out before, plus after; 0 to 2


class Components(NamedTuple):
    """Connected regions of one sign or of both: sign, centre x + iy, area in pixels, (N,) each."""

    sign: NDArray[np.int8]
    centre: NDArray[np.complex128]
    area: NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A region that stands out of both neighbours."""

    label: int
    box: Box
    area: int  # pixels
    bright: bool  # brighter than its neighbours, else darker
    peak: float  # code values by which its furthest pixel stands out
    mean: float  # and its pixels on average

    @property
    def strength(self) -> float:
        """How visible it is: its mean times the root of its area."""
        return float(self.mean * self.area**0.5)


@dataclass
class Seen:
    """What stands out in one frame."""

    differences: NDArray[np.float32]  # brighter than before, after, without exposure, (2, H, W)
    lighter: Plane  # the exposure: how much lighter the frame is than the mean of both
    stand_out: Plane  # the smaller of both, with its sign
    labels: NDArray[np.int32]  # (H, W); 0 is none
    regions: tuple[Region, ...]
    measures: Measures  # `moved` is 0 until `with_network`, `again` until `with_neighbours`
    components: dict[tuple[int, float, int], Components] = field(default_factory=dict)

    @staticmethod
    def of(frame: FrameState) -> Seen:
        """What stands out in a frame that the network has restored."""
        assert frame.differences is not None
        noise = frame.predicted_error if frame.noise is None else frame.noise
        seen = frame.seen or Seen.before_network(frame.source, frame.differences.numpy(), noise)
        return seen.with_network(frame.source, frame.image)

    @classmethod
    def before_network(
        cls, source: NDArray[np.float32], raw: NDArray[np.float32], noise: float
    ) -> Self:
        """What stands out in a picture (H, W, 3) that is brighter than its neighbours by ``raw``.

        ``raw`` is (2, H, W), ``noise`` a standard deviation, both in code values.
        """
        luma = luma_of(source)
        neighbours = luma - raw
        blurred = np.stack([_blurred(plane) for plane in raw])
        exposure = np.stack([_exposure(plane) for plane in blurred])
        differences = blurred - exposure
        stand_out = smaller(*differences)
        labels, regions = _regions(stand_out, noise)
        measures = _measures(luma, neighbours, stand_out, labels, regions)
        return cls(differences, exposure.mean(0), stand_out, labels, regions, measures)

    def with_network(self, source: NDArray[np.float32], image: NDArray[np.float32]) -> Self:
        """The same, with how far the network's ``image`` (H, W, 3) moves each region."""
        if not self.regions:
            return self
        removed = _blurred(luma_of(source) - luma_of(image))
        bright = np.array([region.bright for region in self.regions])
        far = np.maximum([region.mean for region in self.regions], 1.0)
        moved = np.where(bright, 1, -1) * _Areas(self.labels, len(self.regions)).mean(removed)
        return replace(self, measures=self.measures._replace(moved=moved / far))

    @cached_property
    def places(self) -> NDArray[np.uint8]:
        """1 where a region is or is near, (H, W)."""
        square = np.ones((AGAIN, AGAIN), np.uint8)
        return cv2.dilate((self.labels > 0).astype(np.uint8), square)

    def with_neighbours(self, others: Iterable[Seen]) -> Measures:
        """The measures, with what stands out at the same places in the frames before and after."""
        areas = _Areas(self.labels, len(self.regions))
        again = np.zeros(len(self.regions))
        for other in others:
            again += areas.mean(other.places)
        return self.measures._replace(again=again)

    @cached_property
    def repeats(self) -> tuple[bool, bool]:
        """Whether it repeats the frame before, and the frame after.

        A transfer from 18 frames a second to 24 repeats every third one.
        """
        before, after = (
            np.count_nonzero(np.abs(self.differences) > REGION_FROM[0], (1, 2))
        ).tolist()
        return before < REPEATED * after, after < REPEATED * before

    @cached_property
    def coarse(self) -> NDArray[np.float32]:
        """The differences at a quarter of the size, (2, H/4, W/4): parts of one thing join."""
        return np.stack([_quarter(plane) for plane in self.differences])

    @cached_property
    def coarse_stand_out(self) -> Plane:
        """How far the coarse picture stands out, (H/4, W/4)."""
        return smaller(*self.coarse)


def smaller(first: Plane, second: Plane) -> Plane:
    """The smaller of two differences where both have the same sign, 0 elsewhere."""
    least = np.minimum(np.abs(first), np.abs(second))
    together: Plane = np.where(first * second > 0, np.copysign(least, first), 0).astype(np.float32)
    return together


def strip_exposure(source: NDArray[np.float32], image: NDArray[np.float32]) -> Plane:
    """How much brighter a picture (H, W, 3) is than another, without exposure, code values."""
    difference = _blurred(luma_of(source) - luma_of(image))
    without: Plane = difference - _exposure(difference)
    return without


def luma_of(image: NDArray[np.float32]) -> Plane:
    """Mean of the channels, code values (H, W)."""
    mean: Plane = cv2.transform(image, np.full((1, 3), 255 / 3))
    return mean


def mask_of(boxes: Iterable[Box], height: int, width: int) -> Mask:
    """The pixels of boxes, (H, W)."""
    mask = np.zeros((height, width), bool)
    for x, y, wide, high in boxes:
        mask[y : y + high, x : x + wide] = True
    return mask


def _blurred(plane: Plane) -> Plane:
    return cv2.GaussianBlur(plane, (0, 0), BLUR)


def _quarter(plane: Plane) -> Plane:
    size = max(plane.shape[1] // 4, 1), max(plane.shape[0] // 4, 1)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _exposure(difference: Plane) -> Plane:
    """The smooth part of a difference: what flickers is no region.

    It has no detail, so it is found at a quarter of the size.
    """
    small = _quarter(np.clip(difference, -EXPOSURE_STEP, EXPOSURE_STEP))
    smooth = cv2.GaussianBlur(small, (0, 0), EXPOSURE_SIGMA / 4)
    return cv2.resize(smooth, difference.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _regions(stand_out: Plane, noise: float) -> tuple[NDArray[np.int32], tuple[Region, ...]]:
    """The connected regions that stand out far enough, and their labels (H, W)."""
    begins, least_peak = (max(least, rate * noise) for least, rate in (REGION_FROM, PEAK_FROM))
    labels = np.zeros(stand_out.shape, np.int32)
    regions: list[Region] = []
    for sign in (1, -1):
        far = sign * stand_out
        _, found, boxes, _ = cv2.connectedComponentsWithStats((far > begins).astype(np.uint8))
        for number in _with_peak(far, found, boxes[:, 4], least_peak):
            x, y, wide, high, area = (int(value) for value in boxes[number])
            inside = slice(y, y + high), slice(x, x + wide)
            own = found[inside] == number
            values, label = far[inside][own], len(regions) + 1
            labels[inside][own] = label
            peak, mean = float(values.max()), float(values.mean())
            regions.append(Region(label, (x, y, wide, high), area, sign > 0, peak, mean))
    return labels, tuple(regions)


def _with_peak(
    far: Plane, found: NDArray[np.int32], areas: NDArray[np.int32], least: float
) -> NDArray[np.int64]:
    """The numbers of the components that have the area and a pixel that stands out far enough."""
    reaches = np.zeros(len(areas), bool)
    reaches[found[far >= least]] = True
    reaches[0] = False
    return np.flatnonzero(reaches & (areas >= LEAST_AREA))


class _Areas:
    """The pixels of labelled areas, for sums over each area."""

    def __init__(self, labels: NDArray[np.int32], count: int) -> None:
        self._at = np.flatnonzero(labels)
        self._label = labels.ravel()[self._at]
        self._count = count
        self._size = np.bincount(self._label, minlength=count + 1)[1:]

    def mean(
        self, plane: NDArray[np.float32] | NDArray[np.uint8], empty: float = 0.0
    ) -> NDArray[np.float64]:
        """Mean of a plane over each area, (N,); ``empty`` for one without a pixel."""
        values = plane.ravel()[self._at]
        total = np.bincount(self._label, weights=values, minlength=self._count + 1)[1:]
        mean = total / np.maximum(self._size, 1)
        return np.where(self._size == 0, empty, mean)


def _measures(
    luma: Plane,
    neighbours: NDArray[np.float32],
    stand_out: Plane,
    labels: NDArray[np.int32],
    regions: tuple[Region, ...],
) -> Measures:
    count = len(regions)
    if not count:
        return Measures(*(np.zeros(0) for _ in Measures._fields))
    far = np.maximum([region.mean for region in regions], 1.0)
    bright = np.array([region.bright for region in regions])
    inside = _Areas(labels, count)
    unexplained, unlike = (
        _unexplained(luma, neighbours, side, bright, inside) for side in DISPLACED
    )
    ring = _Areas(_ring(labels), count)
    surroundings = ring.mean(np.abs(luma - neighbours).max(0), empty=np.nan)
    surroundings = np.where(np.isnan(surroundings), CROWDED * far, surroundings)
    core = cv2.erode((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    rim = _Areas(np.where(core == 0, labels, 0), count)
    slopes = (cv2.Sobel(stand_out, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    sharp = rim.mean(np.hypot(*slopes))
    return Measures(
        unexplained / far, unlike / far, np.zeros(count), surroundings / far, sharp / far,
        again=np.zeros(count),
    )  # fmt: skip


def _unexplained(
    luma: Plane,
    neighbours: NDArray[np.float32],
    side: int,
    bright: Mask,
    inside: _Areas,
) -> NDArray[np.float64]:
    """Mean by which each region is beyond all that both neighbours have in a square around it."""
    square = np.ones((side, side), np.uint8)
    above = luma - np.maximum(*(cv2.dilate(plane, square) for plane in neighbours))
    below = np.minimum(*(cv2.erode(plane, square) for plane in neighbours)) - luma
    means = (inside.mean(np.maximum(plane, 0)) for plane in (above, below))
    beyond: NDArray[np.float64] = np.where(bright, *means)
    return beyond


def _ring(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels of the surroundings of each region; the higher label where two meet."""
    near, wide = (
        cv2.dilate(labels.astype(np.float32), np.ones((side, side), np.uint8)) for side in RING
    )
    return np.where(near == 0, wide, 0).astype(np.int32)
