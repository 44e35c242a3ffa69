"""Restored frames averaged along their motion: what the network gets wrong differs from frame to
frame, and what is right moves with the picture.

Motion-compensated temporal filtering (Dubois and Sabri, IEEE Trans. Communications 32, 1984) after
the network, with a weight for every pixel: a neighbour counts as far as it agrees with the frame,
so nothing is drawn out where a match fails or light changes
(docs/experiments/2026-11-28-temporal-filter.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from models.motion.alignment import (
    Flow,
    Frame,
    Trust,
    confidence,
    flow_search,
    flow_step,
    further,
    weighted_mean,
)
from models.motion.deflicker import LUMA, Image, warp

REACH = 2  # frames each side that are averaged
AGREE = 3.5  # code values of difference at which a neighbour has half the frame's own weight
AROUND = 5  # pixels that the difference is averaged over
MATCHED = 0.7  # sigma in pixels of the luma that flow is searched in
SHARPEN = 0.25, 1.25  # detail given back to what is all average: at least, and in soft noisy frames
DETAIL = 0.8  # sigma in pixels that detail is finer than
SOFT = -0.35, -0.6  # log2 of this detail over the next octave's: where a frame begins to be soft


class TemporalFilter:
    """A stream of restored frames (H, W, 3) of one shot in, the filtered ones out; each depends on
    REACH frames each side.
    """

    def __init__(self) -> None:
        self._flow = flow_search("ultrafast")
        self._held: dict[int, Frame] = {}
        self._asked: dict[int, tuple[float, float]] = {}

    def run(self, frames: Iterable[tuple[Image, float, float]]) -> Iterator[Image]:
        """Filtered frames in order, REACH frames late. Each comes with how far it may be filtered
        and how far it was noisy, both in [0, 1]: one without noise keeps the contrast of its
        detail, and so does one that is not soft.
        """
        count = done = 0
        for image, share, noisy in frames:
            self._held[count], self._asked[count] = Frame.of(image, MATCHED), (share, noisy)
            count += 1
            if done + REACH < count:
                yield self._filtered(done)
                done += 1
        for index in range(done, count):
            yield self._filtered(index)

    def _filtered(self, index: int) -> Image:
        image, (share, noisy) = self._held[index].image, self._asked.pop(index)
        if share > 0:
            image = cv2.addWeighted(image, 1 - share, self._mean(index, noisy), share, 0)
        self._held.pop(index - REACH, None)
        return image

    def _mean(self, index: int, noisy: float) -> Image:
        mean, weight = weighted_mean(self._held[index].image, self._moved(index))
        detail = mean - cv2.GaussianBlur(mean, (0, 0), DETAIL)
        least, most = SHARPEN
        faint = (least + (most - least) * noisy * softness(mean)) * (1 - 1 / weight)
        cv2.accumulateProduct(detail, cv2.merge([faint] * 3), mean)
        return mean

    def _moved(self, index: int) -> Iterator[tuple[Image, Trust]]:
        """The frames around one, brought onto it, each with its weight."""
        here = self._held[index].image
        for side in (-1, 1):
            flow: Flow | None = None
            for offset in range(side, side * (REACH + 1), side):
                if (there := self._held.get(index + offset)) is None:
                    break
                step = flow_step(self._flow, self._held[index + offset - side], there, side)
                flow = step if flow is None else further(flow, step)
                moved = warp(there.image, flow, cubic=True)
                yield moved, _agreement(here, moved)


def softness(image: Image) -> float:
    """How far a frame without noise lacks its finest detail, in [0, 1]: film that was blurred is
    restored softer than what was sharp.
    """
    luma = cv2.transform(image, LUMA[None])
    blurred = cv2.GaussianBlur(luma, (0, 0), DETAIL)
    twice = cv2.GaussianBlur(blurred, (0, 0), 3**0.5 * DETAIL)  # in all, 2 * DETAIL
    coarser = float(cv2.norm(blurred, twice))
    finest = float(cv2.norm(luma, blurred))
    if min(finest, coarser) == 0:
        return 0.0
    begins, wholly = SOFT
    return min(max((math.log2(finest / coarser) - begins) / (wholly - begins), 0.0), 1.0)


def _agreement(here: Image, there: Image) -> Trust:
    """Weight (H, W) of a neighbour by the difference between the frames, mean of the channels."""
    apart = cv2.transform(cv2.absdiff(here, there), np.full((1, 3), 255 / 3))
    return confidence(cv2.blur(apart, (AROUND, AROUND)), AGREE)
