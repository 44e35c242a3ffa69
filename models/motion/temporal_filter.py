"""Restored frames averaged along their motion.

The network's errors differ from frame to frame, and the picture moves with its motion.
Motion-compensated temporal filtering (Dubois and Sabri, IEEE Trans. Communications 32, 1984) after
the network, with a weight for every pixel: a neighbour counts as far as it agrees with the frame.
So nothing is smeared where a match fails or light changes
(docs/experiments/2026-11-28-temporal-filter.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import cv2
import numpy as np

from models.frame_state import FrameState, Image
from models.motion.alignment import (
    Flow,
    FlowFrame,
    Trust,
    confidence,
    flow_search,
    flow_step,
    further,
    weighted_mean,
)
from models.motion.deflicker import LUMA_709, warp
from models.motion.neighbourhood import neighbourhoods

FILTER_REACH = 2  # frames each side that are averaged
HALF_WEIGHT = 3.5  # code values of difference at which a neighbour has half the frame's own weight
AVERAGED = 5  # pixels: side of the square over which the difference is averaged
MATCHED = 0.7  # sigma in pixels of the blur of the luma that flow is searched in
SHARPEN = 0.25, 1.25  # share of an average's detail added back: always, and in soft noisy frames
DETAIL = 0.8  # sigma in pixels: detail is what this blur removes
SOFT = -0.35, -0.6  # log2 of detail over the next octave's: a frame begins to be soft, is soft


class TemporalFilter:
    """The stage that averages restored frames of one shot; FILTER_REACH frames late.

    Each frame depends on FILTER_REACH frames each side.
    """

    def __init__(self) -> None:
        self._flow = flow_search("ultrafast")

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames filtered by their ``filter_share``, in order.

        The average loses contrast in fine detail. The more ``noise_weight`` and the softer the
        frame, the more of it is added back.
        """
        pairs = ((frame, FlowFrame.of(frame.image, MATCHED)) for frame in frames)
        for around in neighbourhoods(pairs, FILTER_REACH):
            frame, _ = around[0]
            image, share = frame.image, frame.filter_share
            if share > 0:
                flows = {offset: flow for offset, (_, flow) in around.items()}
                mean = self._mean(flows, frame.noise_weight)
                image = cv2.addWeighted(image, 1 - share, mean, share, 0)
            yield replace(frame, image=image)

    def _mean(self, around: Mapping[int, FlowFrame], noise_weight: float) -> Image:
        mean, weight = weighted_mean(around[0].image, self._moved(around))
        detail = mean - cv2.GaussianBlur(mean, (0, 0), DETAIL)
        least, most = SHARPEN
        added = (least + (most - least) * noise_weight * softness(mean)) * (1 - 1 / weight)
        cv2.accumulateProduct(detail, cv2.merge([added] * 3), mean)
        return mean

    def _moved(self, around: Mapping[int, FlowFrame]) -> Iterator[tuple[Image, Trust]]:
        """The neighbours warped onto the centre frame, each with its weight."""
        here = around[0].image
        for side in (-1, 1):
            flow: Flow | None = None
            for offset in range(side, side * (FILTER_REACH + 1), side):
                if (there := around.get(offset)) is None:
                    break
                step = flow_step(self._flow, around[offset - side], there, side)
                flow = step if flow is None else further(flow, step)
                moved = warp(there.image, flow, cubic=True)
                yield moved, _agreement(here, moved)


def softness(image: Image) -> float:
    """How far a frame without noise lacks its finest detail, in [0, 1].

    Film that was blurred is restored softer than film that was sharp.
    """
    luma = cv2.transform(image, LUMA_709[None])
    blurred = cv2.GaussianBlur(luma, (0, 0), DETAIL)
    twice = cv2.GaussianBlur(blurred, (0, 0), 3**0.5 * DETAIL)  # together a sigma of 2 * DETAIL
    coarser = float(cv2.norm(blurred, twice))
    finest = float(cv2.norm(luma, blurred))
    if min(finest, coarser) == 0:
        return 0.0
    begins, wholly = SOFT
    return min(max((math.log2(finest / coarser) - begins) / (wholly - begins), 0.0), 1.0)


def _agreement(here: Image, there: Image) -> Trust:
    """Weight (H, W) of a neighbour by the mean difference of the channels."""
    apart = cv2.transform(cv2.absdiff(here, there), np.full((1, 3), 255 / 3))
    return confidence(cv2.blur(apart, (AVERAGED, AVERAGED)), HALF_WEIGHT)
