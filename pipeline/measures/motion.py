"""What the motion of the source explains: measures of a frame and the frames beside it.

The frames are small (`small_of`), so grain is weak and the flow is cheap. The flow is that of
the source, for both sides, so a restored picture cannot move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion.flow import Flow, dis_flow, flow_search, warp
from pipeline.clip.frames import Luma
from pipeline.detect.metrics import median

OCCLUDED = 0.01, 0.5  # of the squared flows, and pixels squared: Ruder et al. 2016, section 3.2
LEAST_CHANGE = 0.5  # code values (root mean square) of a change that has an energy worth a share
LEAST_DETAIL = 2.0  # code values squared, that source and neighbours share
WINDOW = 8  # windows in the width and in the height, each
NAN = float("nan")

Box = tuple[int, int, int, int]  # x, y, width, height
Mask = NDArray[np.bool_]


class Link(NamedTuple):
    """How two small frames of the source follow each other."""

    back: Flow  # from the later frame to the earlier one
    forth: Flow

    def seen(self) -> Mask:
        """Pixels of the later frame that the earlier one shows."""
        return _seen(self.back, self.forth)


class Unsupported(NamedTuple):
    """The share of the energy of a change, its strength at the worst place, and that place."""

    share: float  # 0 to 1
    worst: float  # code values, root mean square over a window
    box: Box


@cache
def _search() -> cv2.DISOpticalFlow:
    return flow_search("ultrafast")


def linked(last: Luma, now: Luma) -> Link:
    """The motion between two frames (H, W) of the source, both ways, at the same brightness."""
    even = last * (max(float(now.mean()), 1.0) / max(float(last.mean()), 1.0))
    one, other = (_eight_bit(cv2.GaussianBlur(frame, (0, 0), 1)) for frame in (even, now))
    return Link(dis_flow(_search(), other, one), dis_flow(_search(), one, other))


def _eight_bit(luma: Luma) -> NDArray[np.uint8]:
    return np.asarray(cv2.add(luma, 0, dtype=cv2.CV_8U), np.uint8)  # rounded and saturated


def _seen(flow: Flow, returning: Flow) -> Mask:
    """Where the flow and the one back agree: |w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5."""
    here, there = (np.ascontiguousarray(one[::2, ::2]) for one in (flow, returning))
    carried = warp(there, here * np.float32(0.5))  # every other pixel is enough
    share, pixels = OCCLUDED
    length = _squared(here) + _squared(carried)
    seen = (_squared(here + carried) < share * length + pixels).astype(np.uint8)
    size = 2 * seen.shape[1], 2 * seen.shape[0]
    large = cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(large[: flow.shape[0], : flow.shape[1]] > 0)


def _squared(flow: Flow) -> NDArray[np.float32]:
    return np.asarray(cv2.transform(flow * flow, np.ones((1, 2), np.float32)), np.float32)


def warping_error(now: Luma, last: Luma, link: Link, seen: Mask) -> float:
    """RMS difference from the frame before along the motion: code values, 0 to 255.

    The square root of E_warp of Lai et al. 2018, section 3.3, of luma: pixels that the frame before
    does not show do not count: `seen` is of the link. Flicker, dirt and boiling grain raise it,
    motion does not. NaN if nothing is seen twice.
    """
    count = np.count_nonzero(seen)
    if not count:
        return NAN
    carried = warp(last, link.back)
    return float(np.sqrt(np.square(now - carried)[seen].sum(dtype=np.float64) / count))


def unsupported(source: Luma, restored: Luma, neighbours: Sequence[Luma]) -> Unsupported | None:
    """What of a change nothing explains. `neighbours`: source frames, carried onto this one.

    A restored pixel is explained if it lies between the values of the source and its neighbours
    there. Each of them gets the exposure of the restored frame first (a gain). All are compared
    after a blur of 3x3 pixels, by which the restored frame is degraded again: less grain and finer
    detail are explained too. The energy of what is left is divided by that of the whole change.
    None if the change is below `LEAST_CHANGE`.
    """
    change = float(np.square(restored - source).mean())
    if change < LEAST_CHANGE**2:
        return None
    known = [cv2.blur(frame * _gain(frame, restored), (3, 3)) for frame in (source, *neighbours)]
    low, high = np.minimum.reduce(known), np.maximum.reduce(known)
    again = cv2.blur(restored, (3, 3))
    left = np.square(again - np.clip(again, low, high))
    size = max(source.shape[1] // WINDOW, 3), max(source.shape[0] // WINDOW, 3)
    near = cv2.blur(left, size, borderType=cv2.BORDER_CONSTANT)
    row, column = divmod(int(near.argmax()), near.shape[1])
    x, y = max(column - size[0] // 2, 0), max(row - size[1] // 2, 0)
    share = min(float(left.mean()) / change, 1.0)
    return Unsupported(share, float(np.sqrt(near[row, column])), (x, y, *size))


def shared_detail_kept(source: Luma, restored: Luma, neighbours: Sequence[Luma]) -> float:
    """The part of the detail that the source shares with its neighbours and the restored frame has.

    `neighbours`: source frames, carried onto this one. Their detail has other grain and other dirt,
    so only what lies in the scene correlates with the source's: 1 is all of it, 0 none, and more
    than 1 is sharper. Less grain keeps it, wax does not. Detail is what a blur of 3x3 pixels leaves
    and one of 9x9 takes, after the exposure is matched by a gain. NaN if there is little.
    """
    known = _detail(np.asarray(np.mean(neighbours, axis=0), np.float32))
    had = float((_detail(source) * known).mean())
    if had <= LEAST_DETAIL:
        return NAN
    if restored is source:
        return 1.0
    return float((_detail(restored) * known).mean()) / had / _gain(source, restored)


def own_detail_kept(source: Luma, restored: Luma) -> float:
    """The part of the source's own detail that the restored frame has: the scene's, and grain.

    `shared_detail_kept` without neighbours. It is cheap, and on real film at most 0.01 above that
    (docs/experiments/2026-11-30-cost-of-measures.md): a frame that keeps its own detail keeps the
    scene's. NaN if there is little.
    """
    own = _detail(source)
    had = float(cv2.norm(own, cv2.NORM_L2SQR)) / own.size
    if had <= LEAST_DETAIL:
        return NAN
    return float(cv2.mean(cv2.multiply(own, _detail(restored)))[0]) / had / _gain(source, restored)


def _detail(luma: Luma) -> Luma:
    return np.asarray(cv2.subtract(cv2.blur(luma, (3, 3)), cv2.blur(luma, (9, 9))), np.float32)


def _gain(frame: Luma, restored: Luma) -> float:
    """The median ratio of brightness, of pixels that are not near black."""
    one, other = frame[::3, ::3], restored[::3, ::3]
    bright = (one > 16) & (other > 16)
    if np.count_nonzero(bright) < bright.size // 20:
        return 1.0
    return median(other[bright] / one[bright])
