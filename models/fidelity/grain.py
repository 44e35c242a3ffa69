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

from models.fidelity.on_device import BRIGHTNESS, REPAIRED, Places, kept_there
from models.fidelity.regions import mask_of
from models.frame_state import FrameState, Image, OnDevice

GAP = 2  # pixels between a place that lacks grain and one that gives it
RINGS = (1, 2, 4)  # sizes of the place at which others are looked for around it
SPREAD = 6  # places across and down the frame that are looked at as well

Mask = NDArray[np.bool_]
Boxes = NDArray[np.int64]  # (N, 4): x, y, width, height in pixels


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
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(lacking.astype(np.uint8))
    patched = np.where(lacking[..., None], np.float32(0), taken)
    if count == 1:
        return patched
    spoiled = lacking if frame.suspects is None else lacking | frame.suspects
    if frame.places is not None:  # elsewhere the network took nothing
        spoiled = spoiled | ~mask_of(frame.places, *lacking.shape)
    lacks = boxes[1:, :4].astype(np.int64)
    looked = np.array(frame.places or (), np.int64).reshape(-1, 4)
    givers = _givers(lacks, looked, taken, frame.image, spoiled)
    for label, (place, giver) in enumerate(givers, start=1):
        here, there = _window(place), _window(giver)
        own = labels[here] == label
        patched[here][own] = taken[there][own]
    return patched


def _givers(
    places: Boxes, looked: Boxes, taken: Image, image: Image, spoiled: Mask
) -> Iterator[tuple[Boxes, Boxes]]:
    """For each place a place of its size that has grain; an empty one if there is none.

    In the corners of the boxes in which the network ``looked`` as well.
    """
    luma, energy = 255 * image.mean(2), np.square(255 * taken).mean(2)
    sums = [cv2.integral(plane) for plane in (spoiled.astype(np.uint8), luma, energy)]
    for place in places:
        others = candidates(place, looked, spoiled.shape)
        free = others[_means(sums[0], others) == 0]
        if not len(free):
            yield np.array([*place[:2], 0, 0]), np.array([*place[:2], 0, 0])
            continue
        apart = np.abs(_means(sums[1], free) - _means(sums[1], place[None]))
        alike = free[apart <= max(float(apart.min()), BRIGHTNESS)]
        power = _means(sums[2], alike)  # the middle one: neither flat nor full of detail
        yield place, alike[np.argsort(power)[len(power) // 2]]


def candidates(place: Boxes, looked: Boxes, shape: tuple[int, ...]) -> Boxes:
    """Places of the same size inside a frame (H, W): rings around it, spread over the frame, and in
    the corners of boxes.
    """
    x, y, wide, high = place
    room = np.array([shape[1] - wide, shape[0] - high])
    steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])
    around = np.concatenate([ring * steps * (wide + GAP, high + GAP) for ring in RINGS])
    lines = (np.linspace(0, last, SPREAD).astype(np.int64) for last in room)
    spread = np.stack(np.meshgrid(*lines), -1).reshape(-1, 2)
    first, last = looked[:, :2], looked[:, :2] + looked[:, 2:] - (wide, high)
    inner = [np.where(side, last, first) for side in ((0, 0), (0, 1), (1, 0), (1, 1))]
    corners = np.concatenate([around + np.array([x, y]), spread, *inner])
    inside = ((corners >= 0) & (corners <= room)).all(1)
    return np.insert(corners[inside], (2, 2), (wide, high), axis=1)


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
