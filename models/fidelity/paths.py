"""Whether chance would bring regions as close to a path as those around a region are.

A thing in motion is there in the frames around it as well, displaced. A region lies on a path if
regions like it lie in two more frames on a straight line at constant speed: one before and one
after, or two on one side, for what enters or goes. A path through three more frames may bend
further: chance hardly brings three regions about. The test is a-contrario detection (Desolneux,
Moisan and Morel, From Gestalt Theory to Image Analysis, 2008): it gives the number of false alarms,
which is the number of regions that chance would bring as close. A frame full of dust needs a closer
path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.fidelity.regions import EDGE, Components, Region, Seen

PATH_REACH = 3  # frames each side that a path goes through: two, and one more past a repetition
SEARCH = 1 / 5  # of the frame's width: how far a thing may move from one frame to the next
LEVELS = (6, 8, 11, 16, 22, 31, 44, 62, 88, 124)  # code values at which regions are compared
PEAK_SHARES = 0.6, 0.3  # of a region's peak: the levels at which it is compared
AREA_RATIOS = 2.0, 4.0  # times larger or smaller that regions on a path may be
CUT_OFF = 8.0  # times larger that a region may be if the frame's edge cuts this one off
SCALES = 1, 4  # pixels of a cell; on the coarse one, parts of one thing join
LEAST_CELLS = {1: 4, 4: 1}  # cells of a region that is compared
NEAREST = 0.5  # cells: no region is closer to a path than this
DENSER = 3.0  # times denser than all around that regions may lie by chance where a path goes on
TESTS = len(PEAK_SHARES) * len(AREA_RATIOS) * len(SCALES)
NO_PATH = 2.0  # log10 of the false alarms where no two regions are like this one
MOST_SHORT = 65535  # labels of 16 bits
GROWN = 12  # cells around a region within which its coarse form is looked for


class _Form(NamedTuple):
    """A region at one scale and level."""

    scale: int
    level: int
    area: float  # cells
    centre: complex  # x + iy in cells
    sign: int
    cut_off: bool  # by the frame's edge


def false_alarms(region: Region, here: Seen, around: Mapping[int, Seen]) -> float:
    """log10 of the regions that chance would bring as close to a path through this one.

    ``around`` holds the frames up to PATH_REACH away, by their distance. Low means that the region
    is on a path.
    """
    found = [NO_PATH]
    for scale in SCALES:
        for share in PEAK_SHARES:
            form = _form(region, here, scale, share)
            if form is not None:
                for ratio in AREA_RATIOS:
                    found += _triplets(form, here, around, ratio)
    return min(found) + math.log10(TESTS)


def _form(region: Region, here: Seen, scale: int, share: float) -> _Form | None:
    """The region at a scale, at a level that is a share of its peak; None if it is not there."""
    x, y, wide, high = region.box
    height, width = here.labels.shape
    cut_off = min(x, y, width - x - wide, height - y - high) <= EDGE
    sign = 1 if region.bright else -1
    if scale == 1:
        inside = slice(y, y + high), slice(x, x + wide)
        own = sign * here.stand_out[inside] * (here.labels[inside] == region.label)
        level = _level(share * region.peak)
        cells, left, top = own > LEVELS[level], x, y
        if not cells.any():
            cells = own > 0
    else:
        far = sign * here.coarse_stand_out
        left, top = x // scale, y // scale
        window = far[top : (y + high - 1) // scale + 1, left : (x + wide - 1) // scale + 1]
        if not window.size or window.max() * share < LEVELS[0]:
            return None
        level = _level(share * float(window.max()))
        row, column = np.unravel_index(int(window.argmax()), window.shape)
        row, column = row + top, column + left
        left, top = max(left - GROWN, 0), max(top - GROWN, 0)
        part = far[top : (y + high) // scale + GROWN, left : (x + wide) // scale + GROWN]
        _, labels = cv2.connectedComponents((part > LEVELS[level]).astype(np.uint8))
        cells = labels == labels[row - top, column - left]
    rows, columns = np.nonzero(cells)
    centre = complex(left + columns.mean(), top + rows.mean())
    return _Form(scale, level, float(len(rows)), centre, sign, cut_off)


def _level(value: float) -> int:
    """The number of the highest level below a value; the lowest level at least."""
    return max(0, int(np.searchsorted(LEVELS, value)) - 1)


def _triplets(form: _Form, here: Seen, around: Mapping[int, Seen], ratio: float) -> Iterator[float]:
    """log10 of the false alarms of the closest path: through the middle, on each side, and on a
    side and through the middle.
    """
    radius = SEARCH * here.labels.shape[1] / form.scale

    def like(offset: int, side: int, reach: float = radius) -> NDArray[np.complex128]:
        """Displacements of the regions like the form that differ from their earlier (0) or later
        (1) neighbour.
        """
        frame = around.get(offset)
        if frame is None:
            return np.zeros(0, complex)
        return _like(form, _components(frame, form, side), ratio, reach)

    before, after = like(-1, 0), like(1, 1)
    if len(before) and len(after):
        apart = np.abs(before[:, None] + after[None])
        yield _alarms(apart.size, float(apart.min()), radius)
    for near, far, other in (
        (after, like(_second(around, 1), 1, 2 * radius), before),
        (before, like(_second(around, -1), 0, 2 * radius), after),
    ):
        if len(near) and len(far):
            apart = np.abs(far[None] - 2 * near[:, None])
            pairs = int((apart <= radius).sum())
            yield _alarms(pairs, float(apart.min()), radius)
            if len(other):
                back = np.abs(near[:, None] + other[None]).min(1)
                furthest = float(np.maximum(apart.min(1), back).min())
                yield _alarms(DENSER * pairs * len(other), furthest, radius, 2)


def _second(around: Mapping[int, Seen], way: int) -> int:
    """The distance of the second frame before (-1) or after (1) that is not the first once more."""
    first = around.get(way)
    return 3 * way if first is not None and first.repeats[way > 0] else 2 * way


def _alarms(chances: float, apart: float, radius: float, places: int = 1) -> float:
    """log10 of how often a chance brings regions so close to as many places as a path foretells."""
    return math.log10(max(chances, 1) * (max(apart, NEAREST) / radius) ** (2 * places))


def _like(
    form: _Form, components: Components, ratio: float, reach: float
) -> NDArray[np.complex128]:
    """Displacements (N,) of the components that have about the form's area."""
    away = components.centre - form.centre
    largest = form.area * ratio * (CUT_OFF if form.cut_off else 1)
    fits = (components.area >= form.area / ratio - 1) & (components.area <= largest + 1)
    fits &= np.abs(away) <= reach
    return away[fits]


def _components(frame: Seen, form: _Form, side: int) -> Components:
    """What differs from the earlier (0) or later (1) neighbour as the form does, cached.

    Nothing differs from a neighbour that is the same frame once more; then from the other one.
    """
    side = 1 - side if frame.repeats[side] else side
    key = form.scale, form.sign * LEVELS[form.level], side
    if key not in frame.components:
        planes = frame.differences if form.scale == 1 else frame.coarse
        frame.components[key] = _found(planes[side], key[1], LEAST_CELLS[form.scale])
    return frame.components[key]


def _found(difference: NDArray[np.float32], level: int, least: int) -> Components:
    """What is above a level, or below a negative one."""
    mask = cv2.compare(difference, float(level), cv2.CMP_GT if level > 0 else cv2.CMP_LT)
    # Short labels take a third of the time. There are not more regions than pixels.
    short = cv2.CV_16U if cv2.countNonZero(mask) <= MOST_SHORT else cv2.CV_32S
    _, _, boxes, centres = cv2.connectedComponentsWithStats(mask, ltype=short)
    large = np.flatnonzero(boxes[1:, 4] >= least) + 1
    centre = centres[large, 0] + 1j * centres[large, 1]
    return Components(centre, boxes[large, 4].astype(np.float64))
