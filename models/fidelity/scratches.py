"""How a scratch that stands still through a shot is taken out of a frame.

A pole hides what is behind it. A scratch is a thin straight line of the film: the picture goes on
under it, from one thing in the scene to the next. So it is not painted over: what it adds to the
picture is measured in the frame itself, along its length, and taken away. Detail and grain stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import FrameState, Image, Repair, Scratch

BESIDE = 3  # pixels on each side of a scratch with which it is compared
ALONG = 25  # pixels along a scratch whose median is what it adds
WIDEST = 1.6  # times its usual depth that a scratch may add
LEAST = 0.25  # share of its usual depth from which it is there
# Times its depth, and code values, by which both sides may differ: more is an edge of the scene.
UNEVEN, LEAST_UNEVEN = 1.5, 8.0
THIN = 0.5  # share of its depth that it may add at the ends of its width
SHORTEST = 15  # rows of a part of a scratch
FADE = 7  # rows over which a repair begins and ends

Plane = NDArray[np.float32]


def erase_scratches(
    frames: Iterable[FrameState], scratches: Sequence[Scratch]
) -> Iterator[FrameState]:
    """The frames in order, without the scratches. Each has a record of those that were there."""
    for frame in frames:
        own = [one for one in scratches if one.start <= frame.index < one.stop]
        if not own:
            yield frame
            continue
        picture, repairs = frame.source.copy(), list[Repair]()
        taken = np.zeros(picture.shape[:2], np.float32)
        for scratch in own:
            if (repair := erase(picture, taken, scratch)) is not None:
                repairs.append(repair)
        yield replace(frame, source=picture, image=picture, scratched=taken, scratches=(*repairs,))


def erase(picture: Image, taken: Plane, scratch: Scratch) -> Repair | None:
    """Take a scratch out of a picture (H, W, 3) in place, where it is there.

    ``taken`` (H, W) gets 1 where the picture was changed. None if the scratch is nowhere there.
    """
    height, width = picture.shape[:2]
    left, top, wide, high = scratch.box
    right, bottom = left + wide, min(top + high, height)
    if left < BESIDE or right > width - BESIDE or bottom - top < ALONG:
        return None
    strip = 255 * picture[top:bottom, left - BESIDE : right + BESIDE]
    before, after = strip[:, :BESIDE].mean(1), strip[:, -BESIDE:].mean(1)
    across = np.linspace(0, 1, wide + 2, dtype=np.float32)[1:-1, None]
    ground = before[:, None] + (after - before)[:, None] * across  # (rows, columns, 3)
    adds = _median_along(strip[:, BESIDE:-BESIDE] - ground)
    sign = 1 if scratch.bright else -1
    depth = sign * adds.mean(2)
    apart = np.abs(after - before).mean(1)
    there = _there(depth, apart, scratch)
    if not there.any():
        return None
    adds = adds * there[:, None, None]  # a sharpened line has seams of the other sign
    picture[top:bottom, left:right] -= adds / 255
    taken[top:bottom, left:right] = np.maximum(taken[top:bottom, left:right], there[:, None])
    rows = np.flatnonzero(there > 0)
    box = left, top + int(rows[0]), wide, int(rows[-1] - rows[0]) + 1
    change = float(np.abs(adds[rows]).mean())
    return Repair(box, len(rows) * wide, scratch.bright, change, "repair", "standing")


def _there(depth: Plane, apart: Plane, scratch: Scratch) -> Plane:
    """How far a scratch is there, for each row, (rows,) in [0, 1].

    It is not where it would be much deeper than usual or wide, nor where an edge of the scene lies,
    nor in a few rows alone.
    """
    deepest = depth.max(1)
    there = (deepest > LEAST * scratch.depth) & (deepest < WIDEST * scratch.depth)
    there &= np.maximum(depth[:, 0], depth[:, -1]) < THIN * deepest
    there &= apart < max(UNEVEN * scratch.depth, LEAST_UNEVEN)
    rows = there.astype(np.uint8)[:, None]
    rows = cv2.morphologyEx(rows, cv2.MORPH_OPEN, np.ones((SHORTEST, 1), np.uint8))
    faded: Plane = cv2.blur(rows.astype(np.float32), (1, FADE)) * rows
    return faded.ravel()


def _median_along(values: Image) -> Image:
    """The median of ALONG rows around each row, of (rows, columns, 3)."""
    padded = np.pad(values, ((ALONG // 2, ALONG // 2), (0, 0), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, ALONG, axis=0)
    median: Image = np.median(windows, axis=-1).astype(np.float32)
    return cv2.blur(median.reshape(len(values), -1), (1, FADE)).reshape(values.shape)
