"""How a restored frame departs from its source, at its worst place: for the rules of a verdict.

Frames are compared at 320 columns, where grain is weak, after the exposure is matched. So neither
less grain nor a corrected exposure counts as a strong change. A frame is out of step if the parts
of its picture that move look like another frame of the source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma, Plane, Planes
from pipeline.detect.verdict import Box

WIDTH = 320  # columns at which frames are compared; smaller frames keep their size
STRONG = 16.0  # code values of 8 bits by which a pixel changed strongly
GAP = 7  # pixels of the small frame that do not part a region
DARKEST = 8.0  # code values: darker pixels do not show the exposure
TILES = 8  # tiles in a row and in a column, whose means are compared
BLOCK = 20  # side of the blocks that show motion, in pixels of the small frame
STILL = 4.0  # code values squared: a block that changes less does not move
MOVING = 0.1  # share of a block's pixels that change if it moves: dirt changes fewer
CLEARLY = 3.0  # the motion of a block over the restoration's own difference, to tell frames apart
NEARER = 2.0  # how much nearer another frame must be
ENOUGH = 0.1  # share of blocks that must move
EDGES = 0.9  # quantile of the gradient above which a pixel lies on an edge
LEAST_EDGE = 4.0  # code values of gradient
LEAST_DETAIL = 2.0  # code values of gradient: finer detail may be grain
FULL = 0.4  # share of a window that must have detail
NAN = float("nan")
MEASURES = (
    "pixels_changed", "largest_change", "chroma_shift", "texture_added", "edges_kept",
    "detail_kept", "out_of_step",
)  # fmt: skip

Grid = NDArray[np.float32]  # a number for each tile or block


class _Pair(NamedTuple):
    """A small source frame and the restored one: (H, W) each."""

    source: Luma
    restored: Luma


class ChangeMeter:
    """Takes source and restored frames in order; `rows` has one row for each frame.

    `shot_starts`: first frame of each shot (0 may be omitted). Frames in `skipped` have no picture
    in the source that a restored frame can be compared with: they are not measured. Memory: three
    small frames, and a few numbers per frame of the clip.
    """

    def __init__(self, shot_starts: Sequence[int] = (0,), skipped: Collection[int] = ()) -> None:
        self._starts, self._skipped = {0, *shot_starts}, set(skipped)
        self._rows: list[dict[str, float]] = []
        self._boxes: list[dict[str, Box]] = []
        self._near: deque[_Pair | None] = deque(maxlen=3)  # of this shot; None: skipped

    def add(
        self, before: Luma, after: Luma, chroma: Sequence[tuple[Plane, Plane]] = (), depth: int = 8
    ) -> None:
        """Measure the next frame: luma (H, W) in 8-bit code values, pairs of planes of `depth`."""
        frame = len(self._rows)
        if frame in self._starts:
            self._end_shot()
        self._rows.append(dict.fromkeys(MEASURES, NAN))
        self._boxes.append({})
        if frame in self._skipped:
            self._near.append(None)
            return
        pair = _Pair(_small(before), _small(after))
        for name, number, box in _changes(before, after, pair, chroma, depth):
            self._rows[-1][name] = number
            if box is not None:
                self._boxes[-1][name] = box
        if changed := _largest_region(pair):
            share, largest, box = changed
            self._rows[-1] |= {"pixels_changed": share, "largest_change": largest}
            if box:
                found = _scaled(box, pair.source.shape, before.shape)
                self._boxes[-1]["largest_change"] = found
        self._near.append(pair)
        if len(self._near) == 3:
            first, middle, last = self._near
            if frame - 2 in self._starts:
                self._step(frame - 2, first, middle, last)
            self._step(frame - 1, middle, first, last)

    def rows(self) -> list[dict[str, float]]:
        """The columns of tables/frames, one row for each frame. NaN: not measured."""
        self._end_shot()
        return [dict(row) for row in self._rows]

    def box(self, frame: int, measure: str) -> Box | None:
        """Where a measure of a frame was found; None if it is of the whole frame."""
        return self._boxes[frame].get(measure)

    def _end_shot(self) -> None:
        """Compare the last frame of a shot with the two before it."""
        if len(self._near) == 3:
            second, third, last = self._near
            self._step(len(self._rows) - 1, last, third, second)
        self._near.clear()

    def _step(self, frame: int, own: _Pair | None, one: _Pair | None, other: _Pair | None) -> None:
        if own and one and other:
            self._rows[frame]["out_of_step"] = _out_of_step(own, one.source, other.source)


def chroma_of(planes: Planes, pix_fmt: str) -> list[Plane]:
    """Two planes that hold the colour: U and V, or blue and red less green. None for grey."""
    if len(planes) < 3:
        return []
    if not pix_fmt.startswith("gbr"):
        return list(planes[1:3])
    green = planes[0].astype(np.float32)
    return [planes[1] - green, planes[2] - green]


def _changes(
    before: Luma, after: Luma, pair: _Pair, chroma: Sequence[tuple[Plane, Plane]], depth: int
) -> Iterator[tuple[str, float, Box | None]]:
    """Yield name, number and box of the measures that compare the values of tiles."""
    shifts = [np.abs(_tiles(b) - _tiles(a)) / (1 << (depth - 8)) for b, a in chroma]
    if shifts:
        yield "chroma_shift", *_worst(np.maximum.reduce(shifts), before.shape)
    fine = _texture(after[::2]) - _texture(before[::2])
    coarse = _texture(pair.restored) - _texture(pair.source)
    yield "texture_added", *_worst(np.maximum(fine, coarse), before.shape)
    source, restored = (np.diff(cv2.blur(image, (3, 3)), axis=1) for image in pair)
    yield "edges_kept", _edges_kept(source, restored), None
    if worst := _detail_kept(source, restored):
        kept, box = worst
        yield "detail_kept", kept, _scaled(box, pair.source.shape, before.shape)


def _worst(tiles: Grid, shape: tuple[int, ...]) -> tuple[float, Box]:
    """The largest number of a grid over a frame of this shape, and its tile."""
    row, column = divmod(int(tiles.argmax()), tiles.shape[1])
    high, wide = shape[0] / tiles.shape[0], shape[1] / tiles.shape[1]
    x, y = round(column * wide), round(row * high)
    box = x, y, round((column + 1) * wide) - x, round((row + 1) * high) - y
    return float(tiles[row, column]), box


def _tiles(plane: Plane) -> Grid:
    """The mean of each tile."""
    size = min(TILES, plane.shape[1]), min(TILES, plane.shape[0])
    values = np.asarray(plane, np.float32)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _texture(luma: Luma) -> Grid:
    """Deviation of the finest detail along the lines, for each tile, in code values.

    Fields do not mix, for only pixels of one line are compared. The response to [1 -2 1] has 6
    times the variance of independent noise.
    """
    if luma.shape[1] < 3:
        return np.zeros((1, 1), np.float32)
    detail = luma[:, 2:] + luma[:, :-2] - 2 * luma[:, 1:-1]
    return np.sqrt(_tiles(detail * detail) / 6)


def _edges_kept(source: Luma, restored: Luma) -> float:
    """The part of the strength of the source's edges that the restored frame has, of gradients.

    Noise averages out, because the sign of an edge counts. NaN on a frame without edges.
    """
    strength = np.abs(source)
    on_edge = strength > max(float(np.quantile(strength[::3, ::3], EDGES)), LEAST_EDGE)
    if np.count_nonzero(on_edge) < on_edge.size // 100:
        return NAN
    kept = np.dot(np.sign(source[on_edge]), restored[on_edge]) / strength[on_edge].sum()
    return float(kept)


def _detail_kept(source: Luma, restored: Luma) -> tuple[float, Box] | None:
    """The least part of the source's detail that is left in a window, and the window in pixels.

    A window has the size of a tile, and is full of detail. None on a frame without such windows.
    """
    strength = np.abs(source)
    fine = (strength > LEAST_DETAIL).astype(np.float32)
    size = max(source.shape[1] // TILES, 3), max(source.shape[0] // TILES, 3)
    full, had, has = (
        cv2.blur(values, size, borderType=cv2.BORDER_CONSTANT)
        for values in (fine, fine * strength, fine * np.sign(source) * restored)
    )
    kept = np.where(full > FULL, has / np.maximum(had, 1e-6), np.inf)
    row, column = divmod(int(kept.argmin()), kept.shape[1])
    if not np.isfinite(kept[row, column]):
        return None
    x, y = max(column - size[0] // 2, 0), max(row - size[1] // 2, 0)
    return float(kept[row, column]), (x, y, *size)


def _scaled(box: Box, small: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A box of the small frame in pixels of a frame of this shape."""
    factor = shape[1] / small[1]
    x, y, wide, high = (round(side * factor) for side in box)
    return x, y, min(wide, shape[1] - x), min(high, shape[0] - y)


def _largest_region(pair: _Pair) -> tuple[float, float, Box | None]:
    """The share of strongly changed pixels, that of the largest region of them, and its box."""
    change = cv2.blur(pair.restored - _exposed(pair), (3, 3))
    strong = (np.abs(change) > STRONG).astype(np.uint8)
    if not strong.any():
        return 0.0, 0.0, None
    joined = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    _, _, found, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    areas = found[1:, cv2.CC_STAT_AREA]
    x, y, wide, high, area = (int(n) for n in found[1 + int(areas.argmax())])
    return float(strong.mean()), area / strong.size, (x, y, wide, high)


def _exposed(pair: _Pair) -> Luma:
    """The source with the exposure of the restored frame: ``gain * x ** gamma``.

    That is the curve by which flicker is corrected. It is fitted twice: pixels that are far from
    the first curve do not count in the second.
    """
    seen = (pair.source > DARKEST) & (pair.restored > DARKEST)
    if np.count_nonzero(seen) < seen.size // 20:
        return pair.source
    x, y = np.log(pair.source[seen][::9]), np.log(pair.restored[seen][::9])
    slope, level = 1.0, float(np.median(y - x))
    for _ in range(2):
        off = np.abs(y - slope * x - level)
        near = off <= max(2.5 * float(np.median(off)), 0.02)
        x, y = x[near], y[near]
        mean_x, mean_y, spread = float(x.mean()), float(y.mean()), float(x.var())
        if spread > 1e-4:
            slope = float(((x - mean_x) * (y - mean_y)).mean()) / spread
        level = mean_y - slope * mean_x
    curve = np.exp(level + slope * np.log(np.maximum(np.arange(256), 1.0))).astype(np.float32)
    return curve[np.clip(np.rint(pair.source), 0, 255).astype(np.uint8)]


def _out_of_step(own: _Pair, one: Luma, other: Luma) -> float:
    """The share of the moving blocks that look like another frame of the source.

    A block moves if all three source frames differ in much of it: dirt is no motion. NaN if too
    little moves.
    """
    pairs = ((own.source, one), (own.source, other), (one, other))
    moved = np.minimum.reduce([_apart(*pair) for pair in pairs])
    much = np.minimum.reduce([_share_changed(*pair) for pair in pairs]) >= MOVING
    mine = _apart(own.restored, own.source)
    nearest = np.minimum(_apart(own.restored, one), _apart(own.restored, other))
    known = much & (moved > np.maximum(CLEARLY * np.minimum(mine, nearest), STILL))
    if np.count_nonzero(known) < max(ENOUGH * known.size, 4):
        return NAN
    return float((mine > NEARER * nearest)[known].mean())


def _apart(one: Luma, other: Luma) -> Grid:
    """Mean squared difference of each block, without the difference of the means."""
    difference = _whole_blocks(one) - _whole_blocks(other)
    means, squares = (_means(values) for values in (difference, difference * difference))
    return np.asarray(np.maximum(squares - means * means, 0), np.float32)


def _share_changed(one: Luma, other: Luma) -> Grid:
    """The share of each block's pixels that change more than a still block.

    The median change of the block is its exposure, and does not count.
    """
    difference = _whole_blocks(one) - _whole_blocks(other)
    (high, wide), (rows, columns) = _blocks(difference), difference.shape
    blocks = difference.reshape(high, rows // high, wide, columns // wide)
    exposure = np.median(blocks, axis=(1, 3), keepdims=True)
    changed = np.square(blocks - exposure) > STILL
    return np.asarray(changed.mean((1, 3)), np.float32)


def _whole_blocks(luma: Luma) -> Luma:
    """A frame without the rest of its last blocks."""
    high, wide = _blocks(luma)
    return luma[: min(high * BLOCK, luma.shape[0]), : min(wide * BLOCK, luma.shape[1])]


def _blocks(luma: Luma) -> tuple[int, int]:
    """The number of blocks down and across: at least one."""
    return max(luma.shape[0] // BLOCK, 1), max(luma.shape[1] // BLOCK, 1)


def _means(values: Luma) -> Grid:
    """The mean of each block."""
    high, wide = _blocks(values)
    return np.asarray(cv2.resize(values, (wide, high), interpolation=cv2.INTER_AREA), np.float32)


def _small(luma: Luma) -> Luma:
    height, width = luma.shape
    if width <= WIDTH:
        return np.asarray(luma, np.float32)
    size = WIDTH, max(round(height * WIDTH / width), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
