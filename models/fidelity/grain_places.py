"""Where grain for the repairs of a frame may come from: places of the same size elsewhere in it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.fidelity.regions import mask_of
from models.frame_state import FrameState

REPAIRED = 0.02  # weight of a repair from which a pixel lacks its own grain
BRIGHTNESS = 8.0  # code values: places that differ by less are alike
GAP = 2  # pixels between a place that lacks grain and one that gives it
RINGS = (1, 2, 4)  # sizes of the place at which others are looked for around it
SPREAD = 6  # places across and down the frame that are looked at as well

Mask = NDArray[np.bool_]
Boxes = NDArray[np.int64]  # (N, 4): x, y, width, height in pixels


class Lacking(NamedTuple):
    """The places of a frame that lack grain, and those that might give it."""

    labels: NDArray[np.int32]  # (H, W): 1 and up in the places, in their order
    places: Boxes
    candidates: list[Boxes]  # of each place
    spoiled: NDArray[np.uint8]  # (H, W): 1 where there is no grain of the source to give

    @classmethod
    def of(cls, lacking: Mask, frame: FrameState) -> Lacking:
        """From the pixels that lack grain, (H, W)."""
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(lacking.astype(np.uint8))
        spoiled = lacking if frame.suspects is None else lacking | frame.suspects
        if frame.places is not None:  # elsewhere the network took nothing
            spoiled = spoiled | ~mask_of(frame.places, *lacking.shape)
        places = boxes[1:, :4].astype(np.int64)
        looked = np.array(frame.places or (), np.int64).reshape(-1, 4)
        others = [_candidates(place, looked, lacking.shape) for place in places]
        return cls(labels, places, others, spoiled.astype(np.uint8))


def _candidates(place: Boxes, looked: Boxes, shape: tuple[int, ...]) -> Boxes:
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
