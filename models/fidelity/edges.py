"""Edges of the picture, and edges in it: what stands out there may be real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.fidelity.compared import luma_of
from models.fidelity.masks import dilated
from models.fidelity.regions import RING, Region
from models.frame_state import Box, FrameState

EDGE, ALONG = 1, 2  # pixels from the picture's edge; times as long as wide
AT_ONE_EDGE = 3  # regions at one edge that have not all come there as dust
# Mean of a line of a border: code values, and a share of the mean of the lines behind it. The share
# of the side that a border may have.
BLACK, DARK, BORDER = 8.0, 0.5, 0.05
SCRATCH_WIDTH, SCRATCH_SLENDER = 10, 4  # pixels; times as high as wide
BESIDE = 12  # pixels each side of a thin region in which an edge along it is looked for
LEAST_LONG = 12  # pixels: a shorter region may be a speck


def at_shifted_edges(regions: Sequence[Region], luma: NDArray[Any]) -> dict[int, float]:
    """The regions at an edge of the picture where it shifted in the gate, by their labels.

    The gate then shows what lies outside the picture in other frames: a region that is longest
    along the edge, or several regions at one edge. The value is how many times deeper a region
    reaches than the middle one of that edge; 0 for one that is longest along it. ``luma`` is (H, W)
    in code values.
    """
    height, width = luma.shape
    left, right, top, bottom = _border(luma)
    found: dict[int, float] = {}
    for ones, across in (
        ([r for r in regions if r.box[0] <= left + EDGE], 0),
        ([r for r in regions if r.box[0] + r.box[2] >= width - right - EDGE], 0),
        ([r for r in regions if r.box[1] <= top + EDGE], 1),
        ([r for r in regions if r.box[1] + r.box[3] >= height - bottom - EDGE], 1),
    ):
        depths = {one.label: one.box[2 + across] for one in ones}
        for one in ones:
            depth, length = one.box[2 + across], one.box[3 - across]
            if length >= ALONG * depth:
                found[one.label] = 0.0
            elif len(ones) >= AT_ONE_EDGE:
                deeper = depth / float(np.median([*depths.values()]))
                found[one.label] = min(deeper, found.get(one.label, np.inf))
    return found


def rim_steps(frame: FrameState, regions: Sequence[Region]) -> dict[int, float]:
    """By the label of each long thin region, upright or level: the step of an edge along it that
    both neighbours have there, over how far the region stands out.

    The bright rim of a pillar comes and goes as the car shakes, and a gap between two boards is
    blurred by a jolt. A scratch or a hair seldom lies on an edge.
    """
    thin = [one for one in regions if max(one.box[2:]) >= LEAST_LONG and is_thin(one.box)]
    if not thin:
        return {}
    neighbours = _neighbours(frame)
    found = {}
    for region in thin:
        x, y, wide, high = region.box
        if is_upright(region.box):
            strip = neighbours[:, y : y + high, max(x - BESIDE, 0) : x + wide + BESIDE].mean(1)
        else:
            strip = neighbours[:, max(y - BESIDE, 0) : y + high + BESIDE, x : x + wide].mean(2)
        steps = np.abs(strip[:, 2:] - strip[:, :-2]).max(1)
        found[region.label] = float(steps.min()) / region.mean
    return found


def ridges(
    frame: FrameState, regions: Sequence[Region], labels: NDArray[np.int32]
) -> NDArray[np.float64]:
    """How far both neighbours stand out of the surroundings under each region, with its sign, (N,).

    The value is of the neighbour that stands out less, over how far the region stands out; 0 if no
    surroundings are free of regions. A bright stripe of a tree that a jolt moves is a bright ridge
    in the neighbours as well. Dust seldom falls on one. ``labels`` (H, W) are those of the regions.
    """
    if not regions:
        return np.zeros(0)
    neighbours, found = _neighbours(frame), np.zeros(len(regions))
    for at, region in enumerate(regions):
        x, y, wide, high = region.box
        rows = slice(max(y - RING[1] // 2, 0), y + high + RING[1] // 2)
        columns = slice(max(x - RING[1] // 2, 0), x + wide + RING[1] // 2)
        own, any_region = labels[rows, columns] == region.label, labels[rows, columns] > 0
        around = dilated(own, RING[1]) & ~dilated(any_region, RING[0])
        if around.any():
            pictures = neighbours[:, rows, columns].astype(np.float32)
            ridge = pictures[:, own].mean(1) - pictures[:, around].mean(1)
            found[at] = float((ridge if region.bright else -ridge).min()) / region.mean
    return found


def _neighbours(frame: FrameState) -> NDArray[Any]:
    """The luma of the neighbours, (2, H, W) in code values."""
    if frame.compared is not None:
        return frame.compared.neighbours
    assert frame.differences is not None
    return luma_of(frame.source) - frame.differences.numpy()


def _border(luma: NDArray[Any]) -> tuple[int, int, int, int]:
    """Lines of the border at the left, at the right, above and below a frame (H, W).

    A border is black, or much darker than the picture: film base is grey, and a border of a
    compressed film has a soft edge.
    """
    columns, lines = luma.mean(0), luma.mean(1)
    left, right, top, bottom = map(_dark, (columns, columns[::-1], lines, lines[::-1]))
    return left, right, top, bottom


def _dark(means: NDArray[Any]) -> int:
    """How many of the first lines, whose means are given from the edge on, are of a border."""
    most = int(BORDER * len(means))
    behind = float(means[most : 2 * most].mean()) if most else 0.0
    part = means[:most] < max(BLACK, DARK * behind)
    return len(part) if part.all() else int(part.argmin())


def is_upright(box: Box) -> bool:
    """Whether a box is narrow and upright, as a scratch is, and a pole, and the edge of a door."""
    _, _, wide, high = box
    return wide <= SCRATCH_WIDTH and high >= SCRATCH_SLENDER * wide


def is_thin(box: Box) -> bool:
    """Whether a box is narrow and upright, or low and level."""
    x, y, wide, high = box
    return is_upright(box) or is_upright((y, x, high, wide))
