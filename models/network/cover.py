"""Which parts of a frame the network computes: tiles that cover it, or places in it.

Each tile is computed with a margin, which is discarded. TILE_MARGIN is more than a pixel depends
on. Around places a smaller one is enough: what lies further away changes a pixel by 0.1 code values
on average (docs/experiments/2026-11-30-pixels-around-a-place.md).

The last part of the network, the pixel decoder, looks less far than the rest. Within a tile it runs
for parts of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.frame_state import Box
from models.network.need import TILE_MARGIN
from models.network.sizes import SIZES
from models.network.unet import DECODER_REACH, MULTIPLE

PLACE_MARGIN = 16, 32  # pixels around a place: always, and for each Res block of a level
TILE_COST = 4096  # pixels: a tile takes as much time more than its own pixels
WHOLE_FROM = 0.85  # of a frame's pixels: if tiles take as many, the whole frame is as fast

Corners = NDArray[np.int64]  # (N, 4): left, top, right, bottom in pixels
Part = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class FrameTile:
    """A part of a padded frame as slices: the pixels kept, and the pixels computed for them."""

    kept: Part
    computed: Part

    @property
    def inside(self) -> Part:
        """The kept pixels, relative to the computed ones."""
        return within(self.kept, self.computed)


def within(part: Part, whole: Part) -> Part:
    """A part of a frame, relative to a larger one."""
    (y, x), (top, left) = part, (side.start for side in whole)
    return slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left)


def tiles(height: int, width: int, side: int) -> Iterator[FrameTile]:
    """Tiles that cover a padded frame.

    ``side`` is in pixels, a multiple of MULTIPLE; 0 is one tile for the whole frame.
    """
    for y in _parts(height, side or height):
        for x in _parts(width, side or width):
            yield FrameTile(
                (y, x), (_around(y, height, TILE_MARGIN), _around(x, width, TILE_MARGIN))
            )


def covering(
    places: Sequence[Box], height: int, width: int, side: int, margin: int
) -> list[FrameTile] | None:
    """Tiles of at most ``side`` pixels that cover places of a padded frame; 0 is no limit.

    None: the whole frame takes less time.
    """
    size = np.array([width, height])
    boxes = _on_grid(places, size)
    if _share(boxes, size, margin) > WHOLE_FROM:
        return None
    boxes = _joined(boxes, size, margin)
    if _costs(boxes, size, margin).sum() > WHOLE_FROM * height * width:
        return None
    return [
        _tile(y, x, height, width, margin)
        for left, top, right, bottom in boxes.tolist()
        for y in _parts(bottom, side or height, top)
        for x in _parts(right, side or width, left)
    ]


def decoded(places: Sequence[Box] | None, tile: FrameTile) -> list[FrameTile]:
    """The parts of a tile for which the pixel decoder runs, to cover places; None: all of it."""
    if places is None:
        return [tile]
    y, x = tile.kept
    first, last = np.array([x.start, y.start]), np.array([x.stop, y.stop])
    boxes = _on_grid(places, last)
    boxes[:, :2] = np.maximum(boxes[:, :2], first)
    boxes = boxes[(boxes[:, :2] < boxes[:, 2:]).all(1)]
    height, width = (part.stop for part in tile.computed)
    boxes = _joined(np.unique(boxes, axis=0), np.array([width, height]), DECODER_REACH)
    return [
        _tile(slice(top, bottom), slice(left, right), height, width, DECODER_REACH)
        for left, top, right, bottom in boxes.tolist()
    ]


def margin_of(size: str, steps: int) -> int:
    """Pixels around a place that are computed and discarded, for a model size."""
    always, each = PLACE_MARGIN
    return always + each * SIZES[size].blocks if steps == 1 else TILE_MARGIN


def _on_grid(places: Sequence[Box], last: Corners) -> Corners:
    """The corners of places, as far as ``last``, on the grid of MULTIPLE, in order, each once."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in places], np.int64).reshape(-1, 4)
    boxes[:, :2] -= boxes[:, :2] % MULTIPLE
    boxes[:, 2:] = np.minimum(-(-boxes[:, 2:] // MULTIPLE) * MULTIPLE, last)
    return np.unique(boxes, axis=0)


def _joined(boxes: Corners, size: Corners, margin: int) -> Corners:
    """The boxes, joined where one tile takes less time than two."""
    done = boxes[:0]
    for one in boxes[:, None]:
        box = one
        while len(done):
            both = np.concatenate([np.minimum(done, box)[:, :2], np.maximum(done, box)[:, 2:]], 1)
            apart = _costs(done, size, margin) + _costs(box, size, margin)
            saved = apart - _costs(both, size, margin)
            best = int(saved.argmax())
            if saved[best] <= 0:
                break
            box, done = both[best : best + 1], np.delete(done, best, 0)
        done = np.concatenate([done, box])
    return done


def _costs(boxes: Corners, size: Corners, margin: int) -> Corners:
    """What each box costs as a tile, in pixels, (N,)."""
    computed = np.minimum(boxes[:, 2:] + margin, size) - np.maximum(boxes[:, :2] - margin, 0)
    return TILE_COST + computed.prod(1)


def _share(boxes: Corners, size: Corners, margin: int) -> float:
    """The share of a frame's pixels that is computed at least: boxes with their margins."""
    cells = np.zeros(size[::-1] // MULTIPLE, bool)
    for left, top, right, bottom in boxes // MULTIPLE:
        near = margin // MULTIPLE
        cells[max(top - near, 0) : bottom + near, max(left - near, 0) : right + near] = True
    return float(cells.mean())


def _parts(stop: int, side: int, start: int = 0) -> list[slice]:
    return [slice(at, min(at + side, stop)) for at in range(start, stop, side)]


def _tile(y: slice, x: slice, height: int, width: int, margin: int) -> FrameTile:
    return FrameTile((y, x), (_around(y, height, margin), _around(x, width, margin)))


def _around(part: slice, length: int, margin: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, length))
