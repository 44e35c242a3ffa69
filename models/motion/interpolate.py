"""Frames that are missing, made from the frames around them: motion-compensated interpolation.

Both neighbours' flow is carried to the time of the missing frame (forward splatting, Niklaus and
Liu, CVPR 2020, with the flow's own consistency as importance), both are warped there and blended by
how far each is believed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion.alignment import Flow, Frame, confidence, residual
from models.motion.deflicker import Image, warp

HOLE_SIGMA = 6.0  # pixels over which flow is carried into places where nothing has landed
LEAST = 1e-3  # weight below which a place counts as a hole
INCONSISTENT = 1.5  # pixels between a flow and the way back at which it is half believed

LONGEST = 8  # frames in a row that are filled: beyond that motion is guessed, not followed


def filled(frames: Iterable[Image], missing: Container[int], first: int = 0) -> Iterator[Image]:
    """The frames of a shot, numbered from ``first``, with the missing ones made anew.

    What stands in the place of a missing frame is not looked at. Raises ValueError where more than
    ``LONGEST`` are missing in a row, or the first or last of the shot: nothing is there to follow.
    """
    last: Image | None = None
    waiting = 0
    for index, frame in enumerate(frames, start=first):
        if index in missing:
            waiting += 1
            if last is None or waiting > LONGEST:
                raise ValueError(f"frame {index} cannot be filled")
            continue
        if waiting and last is not None:
            yield from between(last, frame, waiting)
        yield frame
        last, waiting = frame, 0
    if waiting:
        raise ValueError("the last frame of a shot cannot be filled")


def between(before: Image, after: Image, count: int = 1) -> list[Image]:
    """The ``count`` frames (H, W, 3) missing between two, evenly spaced in time."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, last = Frame.of(before, sigma=0.8), Frame.of(after, sigma=0.8)
    there: Flow = dis.calc(first.luma, last.luma, None)
    back: Flow = dis.calc(last.luma, first.luma, None)
    sure = [
        _sure(there, back) * confidence(residual(first.luma, last.luma, there)),
        _sure(back, there) * confidence(residual(last.luma, first.luma, back)),
    ]
    return [_at(k / (count + 1), (before, after), (there, back), sure) for k in range(1, count + 1)]


def _sure(flow: Flow, reverse: Flow) -> NDArray[np.float32]:
    """1 where going there and back ends where it began, towards 0 where it does not (covered)."""
    miss = np.square(flow + warp(reverse, flow)).sum(-1)
    trust: NDArray[np.float32] = 1 / (1 + miss / np.float32(INCONSISTENT**2))
    return trust


def _at(
    t: float,
    images: tuple[Image, Image],
    flows: tuple[Flow, Flow],
    sure: list[NDArray[np.float32]],
) -> Image:
    """The frame at ``t`` of the way from the first image to the second."""
    motion, weights = _splatted(
        [(flows[0], t * flows[0], sure[0]), (-flows[1], (1 - t) * flows[1], sure[1])]
    )
    warped = warp(images[0], -t * motion), warp(images[1], (1 - t) * motion)
    shares = (1 - t) * (weights[0] + LEAST), t * (weights[1] + LEAST)
    total = shares[0] + shares[1]
    image: Image = (warped[0] * shares[0][..., None] + warped[1] * shares[1][..., None]) / total[
        ..., None
    ]
    return image


def _splatted(
    sources: list[tuple[Flow, Flow, NDArray[np.float32]]],
) -> tuple[Flow, list[NDArray[np.float32]]]:
    """Motion (H, W, 2) where it is at the time asked, from both sides; and what has landed from
    each side.

    Every source is the motion of its pixels, their way to that time, and their weights.
    """
    landed = [_landed(motion, way, weight) for motion, way, weight in sources]
    weight = np.sum([w for _, w in landed], axis=0)
    motion = np.sum([m for m, _ in landed], axis=0)
    spread = cv2.GaussianBlur(motion, (0, 0), HOLE_SIGMA)
    spread /= np.maximum(cv2.GaussianBlur(weight, (0, 0), HOLE_SIGMA), 1e-6)[..., None]
    filled = (motion + LEAST * spread) / (weight + LEAST)[..., None]
    return filled.astype(np.float32), [w for _, w in landed]


def _landed(
    motion: Flow, way: Flow, weight: NDArray[np.float32]
) -> tuple[Flow, NDArray[np.float32]]:
    """Weighted motion (H, W, 2) and weight (H, W) of the pixels where ``way`` takes them, shared
    between the four nearest places.
    """
    height, width = weight.shape
    x = np.arange(width, dtype=np.float32)[None] + way[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + way[..., 1]
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    sums = np.zeros((3, height * width), np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            at_x, at_y = left + dx, top + dy
            share = (1 - np.abs(x - at_x)) * (1 - np.abs(y - at_y)) * weight
            inside = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
            index, share = (at_y * width + at_x)[inside], share[inside]
            for row, value in enumerate((motion[..., 0][inside], motion[..., 1][inside], 1.0)):
                sums[row] += np.bincount(index, share * value, minlength=height * width)
    return sums[:2].T.reshape(height, width, 2), sums[2].reshape(height, width)
