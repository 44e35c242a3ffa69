"""Neighbouring frames warped onto the centre frame, with a confidence for every pixel.

Without alignment a stack of frames buys nothing on moving footage; OpenCV's DIS flow (Kroeger et
al., ECCV 2016) on blurred luma is enough, better flow would add at most 0.3 dB
(docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.exposure import LUMA, Image, warp

OFFSETS = (-2, -1, 1, 2)  # neighbours of a centre frame, in frames
TRUST = 14.0  # mean |difference| in code values over 7x7 above which a match is not believed
FILL_SIGMA = 14.0  # pixels over which flow is carried into places with no believable match

PRESETS = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}


def match_luma(image: Image) -> NDArray[np.uint8]:
    """8-bit luma blurred with sigma 1.5: DIS matches noisy frames as well on it as on restored
    ones.
    """
    luma = cv2.GaussianBlur(image @ (LUMA * 255), (0, 0), 1.5)
    return np.clip(np.rint(luma), 0, 255).astype(np.uint8)


class Aligner:
    """DIS flow from a centre frame to its neighbours; where the match is bad the flow is filled
    from outside.
    """

    def __init__(self, preset: str = "medium") -> None:
        self._dis = cv2.DISOpticalFlow_create(PRESETS[preset])

    def flow(
        self, centre: NDArray[np.uint8], other: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flow (H, W, 2) in pixels from ``centre`` to ``other``, and its residual (H, W) in code
        values.
        """
        flow: NDArray[np.float32] = self._dis.calc(centre, other, None)
        residual = _residual(centre, other, flow)
        trusted = (residual < TRUST).astype(np.float32)
        if 0.02 < float(trusted.mean()) < 0.998:
            flow = _filled(flow, trusted)
            residual = _residual(centre, other, flow)
        return flow, residual

    def neighbours(
        self,
        centre: Image,
        centre_luma: NDArray[np.uint8],
        others: Sequence[tuple[Image, NDArray[np.uint8]] | None],
    ) -> tuple[list[Image], NDArray[np.float32]]:
        """Warped neighbours, one per entry of ``others``, and confidences (len(others), H, W) in
        [0, 1].

        A missing neighbour (None) becomes the centre itself with confidence 0.
        """
        warped: list[Image] = []
        trust = np.zeros((len(others), *centre.shape[:2]), np.float32)
        for k, other in enumerate(others):
            if other is None:
                warped.append(centre)
                continue
            flow, residual = self.flow(centre_luma, other[1])
            warped.append(warp(other[0], flow))
            trust[k] = confidence(residual)
        return warped, trust


def confidence(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 where the blurred frames agree, 0.5 at a residual of 7 code values, towards 0 beyond."""
    trust: NDArray[np.float32] = 1.0 / (1.0 + np.square(residual / np.float32(7.0)))
    return trust


def _residual(
    centre: NDArray[np.uint8], other: NDArray[np.uint8], flow: NDArray[np.float32]
) -> NDArray[np.float32]:
    difference = cv2.absdiff(warp(other, flow), centre).astype(np.float32)
    mean: NDArray[np.float32] = cv2.blur(difference, (7, 7))
    return mean


def _filled(flow: NDArray[np.float32], trusted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flow with untrusted places replaced by the Gaussian average of the trusted flow around
    them."""
    core = cv2.erode(trusted, np.ones((5, 5), np.uint8))
    scale = 0.25  # the average is smooth: a quarter of the size costs a sixteenth
    small = cv2.resize(
        np.dstack([flow * core[..., None], core]),
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_AREA,
    )
    mean = cv2.GaussianBlur(small, (0, 0), FILL_SIGMA * scale)
    around = mean[..., :2] / np.maximum(mean[..., 2:], 1e-4)
    around = cv2.resize(around, flow.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    filled: NDArray[np.float32] = np.where(core[..., None] > 0.5, flow, around).astype(np.float32)
    return filled
