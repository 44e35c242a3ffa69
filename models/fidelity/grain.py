"""Grain is part of the film: how much of it stays, and grain for what was repaired.

A network trained to be near the clean picture takes grain away. Here the share of it that is wanted
comes back: outside of repairs the source's own, inside repairs grain of the same frame, from a
place of similar brightness. So a repair is no smooth patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.fidelity.grain_places import BRIGHTNESS, REPAIRED, Boxes, Lacking
from models.fidelity.on_device import Places, kept_there
from models.frame_state import FrameState, Image, OnDevice


def find_grain(frames: Iterable[FrameState]) -> Iterator[FrameState]:
    """The frames in order, each with its grain: what the network took, without what it repaired.

    Grain for repairs is copied from elsewhere in the frame; 0 where no such place is left.
    """
    for frame in frames:
        if frame.on_device is not None:
            yield _found_there(frame, frame.on_device)
            continue
        yield replace(frame, grain=_patched(frame.source - frame.image, frame))


def keep_grain(frames: Iterable[FrameState], share: float) -> Iterator[FrameState]:
    """The frames in order, with a ``share`` in [0, 1] of the source's grain.

    With a share of 1 every pixel that is not repaired is the source's, its exposure corrected.
    """
    for state in frames:
        weight = repaired(state)
        put_back = share * (1 - float(weight.mean()))  # mean share of the source put back
        frame = replace(state, source_share=1 - (1 - put_back) * (1 - state.source_share))
        if frame.on_device is not None:
            yield kept_there(frame, share, weight)
            continue
        assert frame.grain is not None  # `find_grain` found it
        taken = frame.source - frame.image
        back = taken + weight[..., None] * (frame.grain - taken)
        yield replace(frame, image=frame.image + np.float32(share) * back)


def repaired(frame: FrameState) -> NDArray[np.float32]:
    """How far each pixel is repaired, by the network or by the neighbours, (H, W) in [0, 1]."""
    assert frame.defects is not None  # the network stage found them
    weight: NDArray[np.float32] = frame.defects.numpy()
    return weight if frame.fill is None else np.maximum(weight, frame.fill)


def _found_there(frame: FrameState, there: OnDevice) -> FrameState:
    """The frame with its grain where its pictures are; without any repair it has none apart."""
    lacking = repaired(frame) > REPAIRED
    if not lacking.any():
        return frame
    grain = Places(lacking, frame).patched(there)
    return replace(frame, on_device=there._replace(grain=grain))


def _patched(taken: Image, frame: FrameState) -> Image:
    """What the network took, with other places' where the frame is repaired."""
    lacking = repaired(frame) > REPAIRED
    patched = np.where(lacking[..., None], np.float32(0), taken)
    if not lacking.any():
        return patched
    found = Lacking.of(lacking, frame)
    for label, (place, giver) in enumerate(_givers(found, taken, frame.image), start=1):
        here, there = _window(place), _window(giver)
        own = found.labels[here] == label
        patched[here][own] = taken[there][own]
    return patched


def _givers(found: Lacking, taken: Image, image: Image) -> Iterator[tuple[Boxes, Boxes]]:
    """For each place a place of its size that has grain; an empty one if there is none."""
    luma, energy = 255 * image.mean(2), np.square(255 * taken).mean(2)
    sums = [cv2.integral(plane) for plane in (found.spoiled, luma, energy)]
    for place, others in zip(found.places, found.candidates, strict=True):
        free = others[_means(sums[0], others) == 0]
        if not len(free):
            yield np.array([*place[:2], 0, 0]), np.array([*place[:2], 0, 0])
            continue
        apart = np.abs(_means(sums[1], free) - _means(sums[1], place[None]))
        alike = free[apart <= max(float(apart.min()), BRIGHTNESS)]
        power = _means(sums[2], alike)  # the middle one: neither flat nor full of detail
        yield place, alike[np.argsort(power)[len(power) // 2]]


def _means(integral: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Mean of a plane over each box, (N,), from its integral image."""
    x, y, wide, high = boxes.T
    right, below = x + wide, y + high
    total = (
        integral[below, right] - integral[y, right] - integral[below, x] + integral[y, x]
    ).astype(np.float64)
    return total / (wide * high)


def _window(box: Boxes) -> tuple[slice, slice]:
    x, y, wide, high = box
    return slice(y, y + high), slice(x, x + wide)
