"""The regions of a frame that stand out of both neighbouring frames, and what is measured of each.

A pixel stands out by the smaller of its differences from the frame before and the frame after,
where both have the same sign (the detector SDIp; Kokaram, Motion Picture Restoration, 1998). Dust
stands out. So does a limb in fast motion, whose match failed. Six measures tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from models.fidelity.compared import (
    DISPLACED,
    Compared,
    Plane,
    PlaneBeside,
    blurred,
    luma_of,
    quarter,
    smaller,
    strip_exposure,
)
from models.frame_state import Box, FrameState

# Code values by which a region stands out: at each pixel, and at its furthest pixel. The larger of
# the first number, and of the second times the noise.
REGION_FROM, PEAK_FROM = (6.0, 1.5), (9.0, 2.5)
LEAST_AREA = 6  # pixels
AGAIN = 9  # pixels: side of the square within which something stands out again
CROWDED = 2.0  # surroundings of a region that has other regions all around it
RING = 5, 15  # pixels: sides of the squares between which a region's surroundings lie
REPEATED = 0.2  # of the pixels that differ from one neighbour: as few differ from a repetition
EDGE = 2  # pixels from the frame's edge within which a region may be cut off
CROWD = 0.1  # of the frame's width: how far around a region others are a crowd
CELL = 4  # pixels: side of the cells in which they are counted

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
    """Connected regions: centre x + iy, area in pixels, (N,) each."""

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
    lighter: Plane | None  # the exposure: how much lighter the frame is than the mean of both
    stand_out: Plane  # the smaller of both, with its sign
    labels: NDArray[np.int32]  # (H, W); 0 is none
    regions: tuple[Region, ...]
    measures: Measures  # `moved` is 0 until `with_network`, `again` until `with_neighbours`
    components: dict[tuple[int, int, int], Components] = field(default_factory=dict)

    @staticmethod
    def of(frame: FrameState) -> Seen:
        """What stands out in a frame that the network has restored."""
        noise = frame.predicted_error if frame.noise is None else frame.noise
        if frame.compared is not None:
            seen = frame.seen or Seen.beside(frame.compared, noise)
            return seen.with_removed(frame.compared.removed)
        assert frame.differences is not None
        seen = frame.seen or Seen.before_network(frame.source, frame.differences.numpy(), noise)
        return seen.with_network(frame.source, frame.image)

    @classmethod
    def before_network(
        cls, source: NDArray[np.float32], raw: NDArray[np.float32], noise: float
    ) -> Self:
        """What stands out in a picture (H, W, 3) that is brighter than its neighbours by ``raw``.

        ``raw`` is (2, H, W), ``noise`` a standard deviation, both in code values.
        """
        return cls.beside(Compared(luma_of(source), raw), noise)

    @classmethod
    def beside(cls, compared: Compared, noise: float) -> Self:
        """What stands out in a frame that was compared with its neighbours."""
        stand_out = compared.stand_out
        labels, regions = _regions(stand_out, noise)
        measures = _measures(compared, labels, regions)
        return cls(compared.differences, compared.lighter, stand_out, labels, regions, measures)

    def with_network(self, source: NDArray[np.float32], image: NDArray[np.float32]) -> Self:
        """The same, with how far the network's ``image`` (H, W, 3) moves each region."""
        if not self.regions:
            return self
        return self.with_removed(blurred(luma_of(source) - luma_of(image)))

    def with_removed(self, removed: PlaneBeside) -> Self:
        """The same, from how much brighter the source is than the network's picture, (H, W)."""
        if not self.regions:
            return self
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
        return np.stack([quarter(plane) for plane in self.differences])

    @cached_property
    def coarse_stand_out(self) -> Plane:
        """How far the coarse picture stands out, (H/4, W/4)."""
        return smaller(*self.coarse)


def luma_in(frame: FrameState) -> NDArray[Any]:
    """Luma of a frame before the network, code values (H, W)."""
    return luma_of(frame.source) if frame.compared is None else frame.compared.luma


def change_in(frame: FrameState) -> Plane:
    """How much darker the network makes each pixel, without exposure, code values (H, W)."""
    if frame.compared is None:
        return strip_exposure(frame.source, frame.image)
    change = frame.compared.change.astype(np.float32)
    if frame.places is not None:  # a device restored more than counts
        change *= mask_of(frame.places, *change.shape)
    return change


def mask_of(boxes: Iterable[Box], height: int, width: int) -> Mask:
    """The pixels of boxes, (H, W)."""
    mask = np.zeros((height, width), bool)
    for x, y, wide, high in boxes:
        mask[y : y + high, x : x + wide] = True
    return mask


def crowds(boxes: Sequence[Box], others: Sequence[Box], height: int, width: int) -> list[int]:
    """How many of the ``others`` are around each box: CROWD to each side, from centre to centre."""
    cells = np.zeros((height // CELL + 1, width // CELL + 1), np.float32)
    np.add.at(cells, _cells(others), 1)
    side = 2 * int(CROWD * width / CELL) + 1
    near = cv2.boxFilter(cells, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return near[_cells(boxes)].round().astype(int).tolist()


def _cells(boxes: Sequence[Box]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the cells with the centres of boxes."""
    x, y, wide, high = np.array(boxes, np.int64).reshape(-1, 4).T
    return (y + high // 2) // CELL, (x + wide // 2) // CELL


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
        self, plane: PlaneBeside | NDArray[np.uint8], empty: float = 0.0
    ) -> NDArray[np.float64]:
        """Mean of a plane over each area, (N,); ``empty`` for one without a pixel."""
        values = plane.ravel()[self._at]
        total = np.bincount(self._label, weights=values, minlength=self._count + 1)[1:]
        mean = total / np.maximum(self._size, 1)
        return np.where(self._size == 0, empty, mean)


def _measures(
    compared: Compared, labels: NDArray[np.int32], regions: tuple[Region, ...]
) -> Measures:
    count = len(regions)
    if not count:
        return Measures(*(np.zeros(0) for _ in Measures._fields))
    far = np.maximum([region.mean for region in regions], 1.0)
    inside = _Areas(labels, count)
    unexplained, unlike = (inside.mean(compared.beyond(side)) for side in DISPLACED)
    ring = _Areas(_ring(labels), count)
    surroundings = ring.mean(compared.apart, empty=np.nan)
    surroundings = np.where(np.isnan(surroundings), CROWDED * far, surroundings)
    core = cv2.erode((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    rim = _Areas(np.where(core == 0, labels, 0), count)
    sharp = rim.mean(compared.slope)
    return Measures(
        unexplained / far, unlike / far, np.zeros(count), surroundings / far, sharp / far,
        again=np.zeros(count),
    )  # fmt: skip


def _ring(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels of the surroundings of each region; the higher label where two meet."""
    near, wide = (
        cv2.dilate(labels.astype(np.float32), np.ones((side, side), np.uint8)) for side in RING
    )
    return np.where(near == 0, wide, 0).astype(np.int32)
