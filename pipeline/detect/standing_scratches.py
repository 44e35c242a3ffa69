"""Find scratches that stand still through a shot, in the survey.

Such a scratch is a thin upright line at one place of many frames. So is a pole, a door frame, the
edge of a wall. What tells them apart is what lies beside the line, its ground. A scratch runs on
from the sky over a house to the street, and stays the same while things move past behind it. A pole
hides what is behind it, so it stands out less from a ground that is more like it.
`docs/experiments/2026-11-30-standing-scratches.md` has the numbers behind the limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import Scratch
from pipeline.clip.frames import Luma8

BLOCK, EVERY = 32, 2  # frames that are judged together; from one that is looked at to the next
COLUMNS, BAND = 720, 8  # a wider frame is searched at this width; rows that are averaged
NEAREST, FURTHEST = 3, 5  # columns from a line to its ground
SEEN, DEEPEST = 1.0, 40.0  # code values: the least depth of a line, and the largest of a scratch
STANDS = 0.6  # share of the frames in which a part of a line is seen
CLUTTER, CLUTTER_DEPTH = 0.15, 2.5  # share of other lines around; their least depth, code values
WIDTH = 9  # columns that a scratch and its seams may take
STEP, MOVED = 12.0, 20.0  # code values: change of the ground along a line; over the frames
HIDDEN = 0.4  # share of a change of the ground that a line hides, from which it may be a pole
LONG, WHOLE = 0.22, 0.65  # of a scratch: share of the height; of the part between its ends
GROUNDS = 9  # of a scratch: changes of the ground along it, and parts past which things move
SOFT = 1.0  # of a scratch: what it adds 2 columns from its middle, over what it adds there
AGAIN_LONG = 0.12  # share of the height of a line, also of a scratch that another block proves
WANDERS = 2.5  # columns from one block to the next
CROWD = 5  # lines of a block from which they are a grid, a fence, a wall
DARK, EDGE = 26.0, 0.03  # code values of a black border; share of the width beside it

Bands = NDArray[np.float32]  # (bands, columns), code values
Mask = NDArray[np.bool_]  # (bands, columns)
Many = NDArray[np.float32]  # (frames, bands, columns), code values


class Line(NamedTuple):
    """An upright line of one block of frames. Columns and bands are those of the search."""

    x: int
    bright: bool
    first: int  # band
    last: int
    length: float  # share of the height in which it is seen
    whole: float  # share of the bands between its ends in which it is seen
    grounds: int
    soft: float
    depth: float  # code values, nearly everywhere along its length

    @property
    def proved(self) -> bool:
        """Whether it is a scratch, for what this block shows."""
        lies_over = self.grounds >= GROUNDS and self.soft <= SOFT
        return lies_over and self.length >= LONG and self.whole >= WHOLE


class StandingScratchMeter:
    """Takes every frame as 8-bit luma (H, W), in order. Memory: the small frames of one block."""

    def __init__(self) -> None:
        self._bands: list[Bands] = []
        self._blocks: list[list[Line]] = []
        self._count, self._size = 0, (0, 0)

    def add(self, luma: Luma8) -> None:
        """Look at the next frame."""
        self._size = luma.shape[1], luma.shape[0]
        if self._count % EVERY == 0:
            self._bands.append(_bands(luma))
        self._count += 1
        if self._count % BLOCK == 0:
            self._blocks.append(lines_of(np.stack(self._bands)))
            self._bands.clear()

    def scratches(self, start: int, stop: int) -> Iterator[Scratch]:
        """The scratches of the shot [start, stop), for each block in which they are seen.

        Only blocks that lie in the shot as a whole are looked at. The first and the last of them
        stand for the frames before and after as well.
        """
        blocks = range(-(-start // BLOCK), min(stop // BLOCK, len(self._blocks)))
        for number in blocks:
            begins = start if number == blocks[0] else number * BLOCK
            ends = stop if number == blocks[-1] else (number + 1) * BLOCK
            for line in self._blocks[number]:
                if line.proved or self._proved_beside(line, number, blocks):
                    yield self._scratch(line, begins, ends)

    def _proved_beside(self, line: Line, number: int, blocks: range) -> bool:
        """Whether a line is a scratch that another block of the shot proves."""
        return any(
            other.proved and other.bright == line.bright
            and abs(other.x - line.x) <= WANDERS * abs(block - number)
            for block in blocks for other in self._blocks[block]
        )  # fmt: skip

    def _scratch(self, line: Line, start: int, stop: int) -> Scratch:
        width, height = self._size
        scale = max(width / COLUMNS, 1.0)
        ends = line.first - 2, line.last + 3  # it is faint there
        top, bottom = (min(max(round(band * BAND * scale), 0), height) for band in ends)
        x, wide = round((line.x + 0.5) * scale - 0.5, 2), round(WIDTH * scale)
        return Scratch(start, stop, x, top, bottom, wide, line.bright, round(line.depth, 2))


def lines_of(bands: Many) -> list[Line]:
    """The upright lines that stand still in a block of frames: the clearest at each place."""
    contrasts, grounds = _contrast(bands)
    quiet = _clutter(contrasts) < CLUTTER
    inside = _inside(bands)
    found: list[Line] = []
    for bright in (True, False):
        depths = np.maximum(contrasts if bright else -contrasts, 0)
        seen = (_ridges(depths).mean(0) > STANDS) & quiet
        often = seen.sum(0) >= AGAIN_LONG * bands.shape[1]
        found += [_line(x, bright, seen, quiet, depths, grounds)
                  for x in map(int, np.flatnonzero(often)) if x in inside]  # fmt: skip
    kept: list[Line] = []
    for line in sorted(found, key=lambda line: -line.length * line.depth):
        if all(abs(line.x - other.x) > FURTHEST for other in kept):
            kept.append(line)
    if len(kept) >= CROWD:
        return []
    return [line for line in kept if line.depth <= DEEPEST]


def _line(x: int, bright: bool, seen: Mask, quiet: Mask, depths: Many, grounds: Many) -> Line:
    at = np.flatnonzero(seen[:, x])
    between = np.s_[at[0] : at[-1] + 1, x]
    own = np.median(depths[:, at], axis=0)  # (bands, columns)
    beside = np.maximum(own[:, x - 2], own[:, x + 2])
    along = np.abs(np.diff(np.median(grounds[:, at, x], axis=0))) > STEP
    past = _lies_over(depths[:, at, x], grounds[:, at, x], bright)
    return Line(
        x, bright, int(at[0]), int(at[-1]),
        length=len(at) / len(seen),
        whole=float(seen[between][quiet[between]].mean()),
        grounds=int(along.sum() + past.sum()),
        soft=float(np.median(beside / np.maximum(own[:, x], SEEN))),
        depth=float(np.quantile(own[:, x], 0.9)),
    )  # fmt: skip


def _lies_over(depths: Bands, grounds: Bands, bright: bool) -> NDArray[np.bool_]:
    """Whether the ground of each part of a line changes over the frames and shows through.

    Both are (frames, parts). The slope is a regression of the depth on the ground: a pole stands
    out less by as much as the ground comes nearer to it.
    """
    low, high = np.quantile(grounds, (0.1, 0.9), axis=0)
    off = grounds - grounds.mean(0)
    slope = (off * (depths - depths.mean(0))).sum(0) / np.maximum(np.square(off).sum(0), 1e-6)
    hides = -slope if bright else slope
    return np.asarray((high - low > MOVED) & (hides < HIDDEN))


def _bands(luma: Luma8) -> Bands:
    """The frame as means of BAND rows, at most COLUMNS columns."""
    height, width = luma.shape
    scale = max(width / COLUMNS, 1.0)
    size = round(width / scale), max(round(height / scale / BAND), 1)
    small = cv2.resize(luma.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _contrast(bands: Many) -> tuple[Many, Many]:
    """How far each pixel lies beyond both of its grounds, signed, and the mean of the grounds."""
    rows = bands.reshape(-1, bands.shape[2])
    kernel = np.zeros((1, 2 * FURTHEST + 1), np.float32)
    kernel[0, : FURTHEST - NEAREST + 1] = 1 / (FURTHEST - NEAREST + 1)
    left, right = (
        cv2.filter2D(rows, -1, one, borderType=cv2.BORDER_REPLICATE)
        for one in (kernel, np.ascontiguousarray(kernel[:, ::-1]))
    )
    above, below = rows - cv2.max(left, right), cv2.min(left, right) - rows
    beyond = np.maximum(above, 0) - np.maximum(below, 0)
    return beyond.reshape(bands.shape), ((left + right) / 2).reshape(bands.shape)


def _ridges(depths: Many) -> NDArray[np.uint8]:
    """1 where a line may be: the deepest within two columns, or the column beside it."""
    rows = depths.reshape(-1, depths.shape[2])
    ridge = (rows >= cv2.dilate(rows, np.ones((1, 5)))) & (rows > SEEN)
    near = cv2.dilate(ridge.astype(np.uint8), np.ones((1, 3)))
    return np.asarray(near.reshape(depths.shape), np.uint8)


def _clutter(contrasts: Many) -> Bands:
    """The share of lines among the pixels beside each pixel, 4 to 12 columns off."""
    kernel = np.ones((1, 25), np.float32)
    kernel[0, 9:16] = 0
    marked = (np.abs(contrasts) > CLUTTER_DEPTH).mean(0).astype(np.float32)
    return np.asarray(cv2.filter2D(marked, -1, kernel / kernel.sum()), np.float32)


def _inside(bands: Many) -> range:
    """The columns of the picture, without black borders and what lies beside them."""
    shown = np.flatnonzero(bands.max((0, 1)) > DARK)
    if not len(shown):
        return range(0)
    margin = max(round(EDGE * (shown[-1] - shown[0])), FURTHEST + 1)
    return range(int(shown[0]) + margin, int(shown[-1]) - margin + 1)
