"""How far a place of a frame stands out, in code values of luma.

Two measures; the class of a place decides (`classes.py`):

- `of_neighbours` is for what is there in one frame, and for what travels. The previous and the
  next frame are carried onto this one along the motion around the place, and their exposure is
  corrected there. A pixel stands out by the smaller of the two differences if both have the same
  sign, and by 0 otherwise (the detector SDIp of Kokaram, Motion Picture Restoration, 1998).
- `of_surroundings` is for what stands still: dirt on the lens or in the gate, a cord, a rail. It
  does not differ from its neighbours. A pixel stands out by its difference from what lies around
  the place in the same frame.
- `of_sides` is for a scratch that stands still. It crosses the edges of things in the scene, which
  stand out of what lies around them. So a column stands out by its mean difference from what lies
  to the left and to the right of the place.

The place's core is chosen in the source: the pixels that stand out at least half as far as the
one that stands out most. The restored film is measured on the same core, with the same sign, and
against its own neighbours or surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.real.film import Picture
from models.motion.alignment import FlowFrame
from models.motion.engine import LUMA_709
from models.motion.flow import Flow, flow_search, warp

REPAIRED_FROM = 0.6  # share of a defect that must be gone
HARMED_FROM = 0.5  # share of a real thing that must be gone
LEAST = 6.0  # code values: a place that stands out less in the source is not counted
BLUR_SIGMA = 1.0  # pixels: single grains do not stand out
RING = 6  # pixels around a box in which exposure and surroundings are measured
SIDES = 3  # pixels to the left and to the right of a scratch
GUARD = 2  # pixels around a box that may still belong to the place
CORE = 0.5  # share of the furthest pixel from which a pixel belongs to the core

Box = tuple[int, int, int, int]  # x, y, width, height, in pixels
Plane = NDArray[np.float32]  # (H, W) in code values
Window = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Core:
    """The pixels of a box that stand out in the source, their sign, and how far on average."""

    mask: NDArray[np.bool_]
    sign: float
    stand_out: float

    @classmethod
    def of(cls, departure: Plane) -> Core:
        """The core of a box with signed departures (h, w)."""
        furthest = departure.ravel()[np.abs(departure).argmax()]
        sign = 1.0 if furthest >= 0 else -1.0
        mask = sign * departure >= max(CORE * abs(float(furthest)), 1e-3)
        return cls(mask, sign, float(departure[mask].mean() * sign) if mask.any() else 0.0)

    def left(self, departure: Plane) -> float:
        """Return how far the core stands out, in the source's direction, in another picture."""
        if not self.mask.any():
            return 0.0
        return float(np.maximum(self.sign * departure[self.mask], 0.0).mean())


@dataclass(frozen=True)
class Trio:
    """Luma of a frame and its two neighbours, and the flow from the frame to each of them."""

    here: Plane
    others: tuple[Plane, Plane]
    flows: tuple[Flow, Flow]

    @classmethod
    def of(cls, before: Picture, here: Picture, after: Picture) -> Trio:
        """Measure the motion between three frames of one shot."""
        images = [image.astype(np.float32) / np.float32(255) for image in (before, here, after)]
        previous, centre, following = (FlowFrame.of(image) for image in images)
        search = flow_search("fast")
        flows = (
            search.calc(centre.luma, previous.luma, None),
            search.calc(centre.luma, following.luma, None),
        )
        planes = [luma(picture) for picture in (before, here, after)]
        return cls(planes[1], (planes[0], planes[2]), flows)


def luma(picture: Picture) -> Plane:
    """Return luma (H, W) in code values, blurred by BLUR_SIGMA."""
    return cv2.GaussianBlur(sharp_luma(picture), (0, 0), BLUR_SIGMA)


def sharp_luma(picture: Picture) -> Plane:
    """Return luma (H, W) in code values."""
    plane: Plane = picture.astype(np.float32) @ LUMA_709
    return plane


def of_neighbours(trio: Trio, box: Box) -> Plane:
    """Signed departure (h, w) of a box from both neighbours, corrected for motion and exposure.

    The motion inside the box is that of its surroundings: flow across a defect has no match, and
    flow across a thing in motion could explain away a thing that is gone.
    """
    window = grown(box, margin_of(box), trio.here.shape)
    inside = _inside(box, window)
    shape = trio.here[window].shape
    ring = _ring(inside, shape)
    differences = []
    for other, flow in zip(trio.others, trio.flows, strict=True):
        carried = _carried(other, _from_around(flow[window], inside, _sigma(box)), window)
        difference = trio.here[window] - carried
        differences.append((difference - np.median(difference[ring]))[inside])
    return smaller(*differences)


def smaller(first: Plane, second: Plane) -> Plane:
    """The smaller of two differences where both have the same sign, 0 elsewhere."""
    least = np.minimum(np.abs(first), np.abs(second))
    together: Plane = np.where(first * second > 0, np.sign(first) * least, 0).astype(np.float32)
    return together


def of_surroundings(plane: Plane, box: Box) -> Plane:
    """Signed departure (h, w) of a box from what lies beside it in the same frame."""
    window = grown(box, margin_of(box), plane.shape)
    inside = _inside(box, window)
    around = _from_around(plane[window], inside, _sigma(box))
    departure: Plane = (plane[window] - around)[inside]
    return departure


def of_sides(plane: Plane, box: Box) -> Plane:
    """Signed departure (h, w) of each column of a box from what lies to the left and right of it.

    It is the mean of the column, of luma without a blur: a scratch is seen along its length.
    """
    x, y, width, height = box
    rows = plane[y : y + height]
    left, right = rows[:, max(x - SIDES, 0) : x], rows[:, x + width : x + width + SIDES]
    ends = [side.mean(1) for side in (left, right) if side.shape[1]]
    across = np.linspace(0, 1, width + 2, dtype=np.float32)[1:-1]
    ground = ends[0][:, None] + (ends[-1] - ends[0])[:, None] * across
    departure = (rows[:, x : x + width] - ground).mean(0)
    return np.broadcast_to(departure, (height, width)).astype(np.float32)


def share_gone(core: Core, departure: Plane) -> float:
    """Return 1 - (stand-out in the restored film / stand-out in the source), at most 1."""
    return 1.0 - core.left(departure) / core.stand_out if core.stand_out > 0 else 0.0


def grown(box: Box, by: int, shape: Sequence[int]) -> Window:
    """The rows and columns of a box grown by some pixels, inside of a frame."""
    x, y, width, height = box
    rows = slice(max(y - by, 0), min(y + height + by, shape[0]))
    return rows, slice(max(x - by, 0), min(x + width + by, shape[1]))


def _inside(box: Box, window: Window) -> Window:
    """The rows and columns of a box in a window around it."""
    x, y, width, height = box
    top, left = y - window[0].start, x - window[1].start
    return slice(top, top + height), slice(left, left + width)


def _sigma(box: Box) -> float:
    """Sigma that reaches from beside a box to its middle, across its narrow side."""
    return (min(box[2:]) / 2 + GUARD + RING) / 2


def margin_of(box: Box) -> int:
    """Pixels around a box that its measure looks at."""
    return GUARD + RING + int(2 * _sigma(box))


def _ring(inside: Window, shape: Sequence[int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.uint8)
    mask[inside] = 1
    near = cv2.dilate(mask, _square(GUARD))
    ring: NDArray[np.bool_] = cv2.dilate(mask, _square(GUARD + RING)) > near
    return ring if ring.any() else np.ones(shape, bool)


@lru_cache
def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _from_around(values: Plane, inside: Window, sigma: float) -> Plane:
    """Values (H, W) or (H, W, C) in which a Gaussian mean of what lies outside fills the box."""
    mask = np.zeros(values.shape[:2], np.uint8)
    mask[inside] = 1
    near = cv2.dilate(mask, _square(GUARD))
    weight = 1.0 - near.astype(np.float32)
    lift = weight if values.ndim == 2 else weight[..., None]
    total = cv2.GaussianBlur(values * lift, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    share = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    share = np.maximum(share, 1e-6)
    mean = total / (share if values.ndim == 2 else share[..., None])
    return np.where(near.astype(bool) if values.ndim == 2 else near[..., None] > 0, mean, values)


def _carried(other: Plane, flow: Flow, window: Window) -> Plane:
    """The part of another frame that flow (h, w, 2) carries into a window of this frame."""
    rows, columns = window
    whole = np.array([columns.start, rows.start], np.float32) + flow
    return warp(other, whole.astype(np.float32))
