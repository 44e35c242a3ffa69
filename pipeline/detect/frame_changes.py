"""How a restored frame departs from its source, at its worst place: for the rules of a verdict.

Frames are compared at 320 columns, where grain is weak, after the exposure is matched. So neither
less grain nor a corrected exposure counts as a strong change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma, Plane, Planes
from pipeline.detect.metrics import median
from pipeline.detect.out_of_step import out_of_step
from pipeline.detect.verdict import Box

WIDTH = 320  # columns at which frames are compared; smaller frames keep their size
STRONG = 16.0  # code values of 8 bits by which a pixel changed strongly
GAP = 7  # pixels of the small frame that do not part a region
DARKEST = 8.0  # code values: darker pixels do not show the exposure
TILES = 8  # tiles in a row and in a column, whose means are compared
EDGES = 0.9  # quantile of the gradient above which a pixel lies on an edge
LEAST_EDGE = 4.0  # code values of gradient
LEAST_DETAIL = 2.0  # code values of gradient: finer detail may be grain
FULL = 0.4  # share of a window that must have detail
NAN = float("nan")
MEASURES = (
    "pixels_changed", "largest_change", "chroma_shift", "texture_added", "edges_kept",
    "detail_kept", "out_of_step",
)  # fmt: skip

Grid = NDArray[np.float32]  # a number for each tile


class _Pair(NamedTuple):
    """A small source frame and the restored one: (H, W) each."""

    source: Luma
    restored: Luma

    @property
    def same(self) -> bool:
        """Whether the restored frame is the source's."""
        return self.restored is self.source


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
        self,
        before: Luma,
        after: Luma,
        chroma: Sequence[tuple[Plane, Plane]] = (),
        depth: int = 8,
        small: tuple[Luma, Luma] | None = None,
    ) -> None:
        """Measure the next frame: luma (H, W) in 8-bit code values, pairs of planes of `depth`.

        `small`: both lumas by `small_of`, if they are known. If `after` is the very array `before`,
        nothing was changed, and little is left to measure.
        """
        frame = len(self._rows)
        if frame in self._starts:
            self._end_shot()
        self._rows.append(dict.fromkeys(MEASURES, NAN))
        self._boxes.append({})
        if frame in self._skipped:
            self._near.append(None)
            return
        pair = _Pair(*(small or small_pair(before, after)))
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
            self._rows[frame]["out_of_step"] = out_of_step(*own, one.source, other.source)


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
    nothing = np.zeros((min(TILES, before.shape[0]), min(TILES, before.shape[1])), np.float32)
    if chroma:
        shifts = [np.abs(_tiles(_less(b, a))) / (1 << (depth - 8)) for b, a in chroma if b is not a]
        yield "chroma_shift", *_worst(np.maximum.reduce(shifts or [nothing]), before.shape)
    added = nothing
    if after is not before:
        fine = _texture(after[::2]) - _texture(before[::2])
        added = np.maximum(fine, _texture(pair.restored) - _texture(pair.source))
    yield "texture_added", *_worst(added, before.shape)
    source = _gradient(pair.source)
    restored = source if pair.same else _gradient(pair.restored)
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


def _less(one: Plane, other: Plane) -> Luma:
    """One plane less the other."""
    return np.asarray(cv2.subtract(one, other, dtype=cv2.CV_32F), np.float32)


def _tiles(values: Luma) -> Grid:
    """The mean of each tile."""
    strips = _strips(values, min(TILES, values.shape[0]))
    return _strips(np.ascontiguousarray(strips.T), min(TILES, values.shape[1])).T


def _strips(values: Luma, count: int) -> Luma:
    """The mean of each of `count` equal strips of lines. A line may lie in two of them, in parts.

    That is what OpenCV's INTER_AREA gives, in a fifth of its time.
    """
    height = values.shape[0]
    if count == height:
        return values
    edges = np.arange(count + 1) * (height / count)
    lines = np.minimum(edges.astype(np.int64), height - 1)
    parts = (edges - lines)[:, None].astype(np.float32) * values[lines]  # of the line at an edge
    parts[-1] = 0  # the last strip has all of its lines
    sums = np.add.reduceat(values, lines[:-1], axis=0)
    return np.asarray((sums + parts[1:] - parts[:-1]) * np.float32(count / height), np.float32)


def _texture(luma: Luma) -> Grid:
    """Deviation of the finest detail along the lines, for each tile, in code values.

    Fields do not mix, for only pixels of one line are compared. The response to [1 -2 1] has 6
    times the variance of independent noise.
    """
    if luma.shape[1] < 3:
        return np.zeros((1, 1), np.float32)
    detail = cv2.filter2D(luma, cv2.CV_32F, np.array([[1, -2, 1]], np.float32))[:, 1:-1]
    return np.sqrt(_tiles(cv2.multiply(detail, detail)) / 6)


def _gradient(small: Luma) -> Luma:
    """The differences along the lines after a blur."""
    smooth = cv2.blur(small, (3, 3))
    return np.asarray(cv2.subtract(smooth[:, 1:], smooth[:, :-1]), np.float32)


def _edges_kept(source: Luma, restored: Luma) -> float:
    """The part of the strength of the source's edges that the restored frame has, of gradients.

    Noise averages out, because the sign of an edge counts. NaN on a frame without edges.
    """
    strength = np.abs(source)
    edge = max(_quantile(strength[::3, ::3], EDGES), LEAST_EDGE)
    on_edge = np.flatnonzero(strength > edge)
    if on_edge.size < strength.size // 100:
        return NAN
    if restored is source:
        return 1.0
    had, has = source.reshape(-1)[on_edge], restored.reshape(-1)[on_edge]
    return float(np.dot(np.sign(had), has) / np.abs(had).sum())


def _quantile(values: Luma, part: float) -> float:
    """As `numpy.quantile`, in a fifth of its time."""
    flat = values.reshape(-1)
    rank, over = divmod(part * (flat.size - 1), 1)
    low = int(rank)
    high = min(low + 1, flat.size - 1)
    found = np.partition(flat, (low, high))
    return float(found[low] + over * (found[high] - found[low]))


def _detail_kept(source: Luma, restored: Luma) -> tuple[float, Box] | None:
    """The least part of the source's detail that is left in a window, and the window in pixels.

    A window has the size of a tile, and is full of detail. None on a frame without such windows.
    """
    strength = np.abs(source)
    fine = (strength > LEAST_DETAIL).astype(np.float32)
    size = max(source.shape[1] // TILES, 3), max(source.shape[0] // TILES, 3)
    full = _window_mean(fine, size) > FULL
    if not full.any():
        return None
    if restored is source:
        least, at = 1.0, int(full.argmax())
    else:
        signed = cv2.copyTo(restored, (source > LEAST_DETAIL).view(np.uint8))
        signed -= cv2.copyTo(restored, (source < -LEAST_DETAIL).view(np.uint8))
        had, has = (_window_mean(values, size) for values in (fine * strength, signed))
        kept = np.where(full, has / np.maximum(had, 1e-6), np.inf)
        at = int(kept.argmin())
        least = float(kept.reshape(-1)[at])
    row, column = divmod(at, full.shape[1])
    x, y = max(column - size[0] // 2, 0), max(row - size[1] // 2, 0)
    return least, (x, y, *size)


def _window_mean(values: Luma, size: tuple[int, int]) -> Luma:
    return np.asarray(cv2.blur(values, size, borderType=cv2.BORDER_CONSTANT), np.float32)


def _scaled(box: Box, small: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A box of the small frame in pixels of a frame of this shape."""
    factor = shape[1] / small[1]
    x, y, wide, high = (round(side * factor) for side in box)
    return x, y, min(wide, shape[1] - x), min(high, shape[0] - y)


def _largest_region(pair: _Pair) -> tuple[float, float, Box | None]:
    """The share of strongly changed pixels, that of the largest region of them, and its box."""
    if pair.same:
        return 0.0, 0.0, None
    change = cv2.blur(cv2.subtract(pair.restored, _exposed(pair)), (3, 3))
    if cv2.norm(change, cv2.NORM_INF) <= STRONG:
        return 0.0, 0.0, None
    strong = (np.abs(change) > STRONG).view(np.uint8)
    left, top, across, down = cv2.boundingRect(strong)
    left, top = max(left - GAP, 0), max(top - GAP, 0)
    near = strong[top : top + down + 2 * GAP, left : left + across + 2 * GAP]
    joined = cv2.morphologyEx(near, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    _, _, found, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    areas = found[1:, cv2.CC_STAT_AREA]
    x, y, wide, high, area = (int(n) for n in found[1 + int(areas.argmax())])
    share = cv2.countNonZero(strong) / strong.size
    return share, area / strong.size, (left + x, top + y, wide, high)


def _exposed(pair: _Pair) -> Luma:
    """The source with the exposure of the restored frame: ``gain * x ** gamma``.

    That is the curve by which flicker is corrected. It is fitted twice: pixels that are far from
    the first curve do not count in the second.
    """
    seen = np.flatnonzero(cv2.min(pair.source, pair.restored) > DARKEST)
    if seen.size < pair.source.size // 20:
        return pair.source
    x, y = (np.log(luma.reshape(-1)[seen[::9]]) for luma in pair)
    slope, level = 1.0, median(y - x)
    for _ in range(2):
        off = np.abs(y - slope * x - level)
        near = np.flatnonzero(off <= max(2.5 * median(off), 0.02))
        x, y = x[near], y[near]
        mean_x, mean_y, spread = float(x.mean()), float(y.mean()), float(x.var())
        if spread > 1e-4:
            slope = float(((x - mean_x) * (y - mean_y)).mean()) / spread
        level = mean_y - slope * mean_x
    curve = np.exp(level + slope * np.log(np.maximum(np.arange(256), 1.0))).astype(np.float32)
    rounded = cv2.add(pair.source, 0, dtype=cv2.CV_8U)  # saturated
    return np.asarray(cv2.LUT(rounded, curve), np.float32)


def small_pair(before: Luma, after: Luma) -> tuple[Luma, Luma]:
    """Both frames at `WIDTH` columns. One array if `after` is `before`."""
    one = small_of(before)
    return one, one if after is before else small_of(after)


def small_of(luma: Luma) -> Luma:
    """A frame (H, W) at `WIDTH` columns; itself if it has no more."""
    height, width = luma.shape
    if width <= WIDTH:
        return np.asarray(luma, np.float32)
    size = WIDTH, max(round(height * WIDTH / width), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
