"""Missing frames made from the frames around them: motion-compensated interpolation.

The flow of both neighbours is carried to the time of the missing frame (forward splatting, Niklaus
and Liu, CVPR 2020, with the flow's own consistency as importance). Both neighbours are warped to
that time and blended by their confidence.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import FrameState, Image
from models.motion.alignment import FlowFrame
from models.motion.engine import confidence
from models.motion.flow import Flow, dis_flow, warp
from models.motion.opencv import residual

HOLE_SIGMA = 6.0  # pixels over which flow is spread into places where no pixel has landed
HOLE_WEIGHT = 1e-3  # weight below which a place counts as a hole
INCONSISTENT = 1.5  # pixels by which flow there and back misses its start at confidence 0.5

LONGEST = 8  # missing frames in a row that can be filled: beyond it motion would be a guess


def interpolate(frames: Iterable[FrameState], missing: Container[int]) -> Iterator[FrameState]:
    """The frames of a shot, with those whose numbers are ``missing`` made from their neighbours.

    The picture in the place of a missing frame is ignored. Raises ValueError if more than
    ``LONGEST`` are missing in a row, or if the first or last of the shot is.
    """
    last: FrameState | None = None
    waiting: list[FrameState] = []  # missing frames since the last
    for frame in frames:
        if frame.index in missing:
            waiting.append(frame)
            if last is None or len(waiting) > LONGEST:
                raise ValueError(f"frame {frame.index} cannot be filled")
            continue
        if waiting and last is not None:
            made = between(last.source, frame.source, len(waiting))
            for gap, image in zip(waiting, made, strict=True):
                yield replace(gap, source=image, image=image)
        yield frame
        last, waiting = frame, []
    if waiting:
        raise ValueError("the last frame of a shot cannot be filled")


def between(before: Image, after: Image, count: int = 1) -> list[Image]:
    """The ``count`` frames (H, W, 3) between two, evenly spaced in time."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, last = FlowFrame.of(before, sigma=0.8), FlowFrame.of(after, sigma=0.8)
    there: Flow = dis_flow(dis, first.luma, last.luma)
    back: Flow = dis_flow(dis, last.luma, first.luma)
    trust = [
        _consistency(there, back) * confidence(residual(first.luma, last.luma, there)),
        _consistency(back, there) * confidence(residual(last.luma, first.luma, back)),
    ]
    times = [k / (count + 1) for k in range(1, count + 1)]
    return [_at(time, (before, after), (there, back), trust) for time in times]


def _consistency(flow: Flow, reverse: Flow) -> NDArray[np.float32]:
    """1 where flow there and back returns to its start, falling to 0 where it misses (covered)."""
    miss = np.square(flow + warp(reverse, flow)).sum(-1)
    trust: NDArray[np.float32] = 1 / (1 + miss / np.float32(INCONSISTENT**2))
    return trust


def _at(
    t: float,
    images: tuple[Image, Image],
    flows: tuple[Flow, Flow],
    trust: list[NDArray[np.float32]],
) -> Image:
    """The frame at the time ``t`` in [0, 1] between the first image and the second."""
    motion, weights = _splatted(
        [(flows[0], t * flows[0], trust[0]), (-flows[1], (1 - t) * flows[1], trust[1])]
    )
    warped = warp(images[0], -t * motion), warp(images[1], (1 - t) * motion)
    shares = (1 - t) * (weights[0] + HOLE_WEIGHT), t * (weights[1] + HOLE_WEIGHT)
    total = shares[0] + shares[1]
    image: Image = (warped[0] * shares[0][..., None] + warped[1] * shares[1][..., None]) / total[
        ..., None
    ]
    return image


def _splatted(
    sources: list[tuple[Flow, Flow, NDArray[np.float32]]],
) -> tuple[Flow, list[NDArray[np.float32]]]:
    """Motion (H, W, 2) at the new frame's time, from both sides; and the weight landed from each.

    A source is the motion of its pixels, their displacement until that time, and their weights.
    """
    landed = [_landed(motion, way, weight) for motion, way, weight in sources]
    weight = np.sum([w for _, w in landed], axis=0)
    motion = np.sum([m for m, _ in landed], axis=0)
    spread = cv2.GaussianBlur(motion, (0, 0), HOLE_SIGMA)
    spread /= np.maximum(cv2.GaussianBlur(weight, (0, 0), HOLE_SIGMA), 1e-6)[..., None]
    filled = (motion + HOLE_WEIGHT * spread) / (weight + HOLE_WEIGHT)[..., None]
    return filled.astype(np.float32), [w for _, w in landed]


def _landed(
    motion: Flow, way: Flow, weight: NDArray[np.float32]
) -> tuple[Flow, NDArray[np.float32]]:
    """Weighted motion (H, W, 2) and weight (H, W) of the pixels after a displacement by ``way``.

    Each is shared between the four nearest places.
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
