"""Whether a restored frame looks like another frame of its source.

The frames are small and come from one shot. Their blocks are compared: where all three source
frames differ, the restored frame must be nearest to its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma

BLOCK = 20  # side of the blocks that show motion, in pixels of the small frame
STILL = 4.0  # code values squared: a block that changes less does not move
MOVING = 0.1  # share of a block's pixels that change if it moves: dirt changes fewer
CLEARLY = 3.0  # the motion of a block over the restoration's own difference, to tell frames apart
NEARER = 2.0  # how much nearer another frame must be
ENOUGH = 0.1  # share of blocks that must move
NAN = float("nan")

Grid = NDArray[np.float32]  # a number for each block
Places = NDArray[np.int64]  # numbers of blocks, line by line


def out_of_step(source: Luma, restored: Luma, one: Luma, other: Luma) -> float:
    """The share of the moving blocks that look like another frame of the source, `one` or `other`.

    All are small frames (H, W), luma on the 8-bit scale. A block moves if all three source frames
    differ in much of it: dirt is no motion. NaN if too little moves.
    """
    pairs = ((source, one), (source, other), (one, other))
    to_one, to_other, between = (_apart(*pair) for pair in pairs)
    if restored is source:
        mine, nearest = np.zeros_like(to_one), np.minimum(to_one, to_other)
    else:
        mine = _apart(restored, source)
        nearest = np.minimum(_apart(restored, one), _apart(restored, other))
    moved = np.minimum(np.minimum(to_one, to_other), between)
    known = np.flatnonzero(moved > np.maximum(CLEARLY * np.minimum(mine, nearest), STILL))
    swapped = (mine > NEARER * nearest).reshape(-1)
    least = max(math.ceil(ENOUGH * moved.size), 4)
    if not swapped[known].any():  # the share is 0: whether enough of them move is left to find
        return 0.0 if _enough(pairs, known, least) else NAN
    known = _changed(pairs, known)
    return float(swapped[known].mean()) if known.size >= least else NAN


def _enough(pairs: Sequence[tuple[Luma, Luma]], known: Places, least: int) -> bool:
    """Whether at least so many of the blocks change in all pairs."""
    found, few = 0, least + least // 4
    for start in range(0, known.size, few):
        if found + known.size - start < least:
            return False
        found += _changed(pairs, known[start : start + few]).size
        if found >= least:
            return True
    return False


def _apart(one: Luma, other: Luma) -> Grid:
    """Mean squared difference of each block, without the difference of the means."""
    difference = cv2.subtract(_whole_blocks(one), _whole_blocks(other))
    means, squares = _means(difference), _means(cv2.multiply(difference, difference))
    return np.asarray(np.maximum(squares - means * means, 0), np.float32)


def _changed(pairs: Sequence[tuple[Luma, Luma]], blocks: Places) -> Places:
    """Those of the blocks in much of which the frames of every pair differ.

    The median change of a block is its exposure, and does not count.
    """
    for one, other in pairs:
        if not blocks.size:
            break
        change = _pixels_of(one, blocks) - _pixels_of(other, blocks)
        change.sort(axis=1)  # faster than a median of unsorted values
        middle = change.shape[1] // 2
        exposure = change[:, middle : middle + 1]
        if change.shape[1] % 2 == 0:
            exposure = (change[:, middle - 1 : middle] + exposure) / 2
        changed = np.square(change - exposure) > STILL
        blocks = blocks[np.count_nonzero(changed, axis=1) >= MOVING * change.shape[1]]
    return blocks


def _pixels_of(luma: Luma, blocks: Places) -> Luma:
    """The pixels of some blocks, a row for each."""
    whole = _whole_blocks(luma)
    (high, wide), (rows, columns) = _blocks(whole), whole.shape
    by_block = whole.reshape(high, rows // high, wide, columns // wide)
    picked = by_block[blocks // wide, :, blocks % wide]
    return picked.reshape(blocks.size, -1)


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
