"""The engine of `models.motion.engine` by OpenCV, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import FrameState, Image
from models.motion import engine
from models.motion.engine import EDGE, EDGE_RUN, LUMA_709, confidence
from models.motion.flow import Flow, Luma, dis_flow, flow_search, warp

if TYPE_CHECKING:
    import torch

Trust = NDArray[np.float32]  # confidence in a match, (H, W) in [0, 1]


class OpenCV:
    """Pictures (H, W, 3) float32, lumas (H, W) uint8, flows (H, W, 2); see `Engine`."""

    def raised(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        for frame in frames:
            if frame.decoded is None:
                yield frame
            else:
                image = frame.decoded.image
                yield replace(frame, source=image, image=image)

    def lowered(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        for frame in frames:
            if frame.decoded is None:
                yield frame
            elif np.isfinite(frame.image.sum()):
                yield replace(frame, planes=frame.decoded.applied(frame.image))
            else:
                yield replace(frame, planes=frame.decoded.planes, finite=False)

    def source(self, frame: FrameState) -> Image:
        return frame.source

    def image(self, frame: FrameState) -> Image:
        return frame.image

    def with_image(self, frame: FrameState, image: Image) -> FrameState:
        return replace(frame, image=image)

    def picture(self, image: Image) -> Image:
        return image

    def luma(self, picture: Image, sigma: float) -> Luma:
        luma = cv2.GaussianBlur(picture @ (LUMA_709 * 255), (0, 0), sigma)
        return np.clip(np.rint(luma), 0, 255).astype(np.uint8)

    def search(self, preset: str) -> engine.Search:
        return partial(dis_flow, flow_search(preset))

    def warp(self, array: Image, flow: Flow, cubic: bool = False) -> Image:
        return warp(array, flow, cubic)

    def matched(self, centre: Luma, other: Luma, flow: Flow) -> tuple[Flow, Trust]:
        error = residual(centre, other, flow)
        trusted = error < engine.MISMATCH
        least, most = engine.MATCHED_SHARE
        if least < float(trusted.mean()) < most:
            flow = spread(flow, trusted)
            error = residual(centre, other, flow)
        return flow, confidence(error)

    def keep_edges(self, centre: Image, warped: Image, still: Image) -> Image:
        for across in (0, 1):  # lines along rows, then along columns
            along = (EDGE_RUN, 1) if across == 0 else (1, EDGE_RUN)
            for edge in (slice(0, EDGE), slice(-EDGE, None)):
                part = (edge, slice(None)) if across == 0 else (slice(None), edge)
                errors = [
                    cv2.blur(cv2.absdiff(centre[part], other[part]).mean(axis=2), along)
                    for other in (warped, still)
                ]
                cv2.copyTo(still[part], (errors[1] < errors[0]).astype(np.uint8), warped[part])
        return warped

    def weighted_mean(
        self, image: Image, others: Iterable[tuple[Image, Trust]]
    ) -> tuple[Image, NDArray[np.float32]]:
        total, weight = image.copy(), np.ones(image.shape[:2], np.float32)
        for other, other_weight in others:
            cv2.accumulateProduct(other, cv2.merge([other_weight] * 3), total)
            weight += other_weight
        mean: Image = cv2.divide(total, cv2.merge([weight] * 3))
        return mean, weight

    def agreement(self, here: Image, there: Image) -> Trust:
        apart = cv2.transform(cv2.absdiff(here, there), np.full((1, 3), 255 / 3))
        apart = cv2.blur(apart, (engine.AVERAGED, engine.AVERAGED))
        weight: Trust = confidence(apart, engine.HALF_WEIGHT)
        return weight

    def sharpened(self, mean: Image, weight: NDArray[np.float32], noise_weight: float) -> Image:
        detail = mean - cv2.GaussianBlur(mean, (0, 0), engine.DETAIL)
        least, most = engine.SHARPEN
        added = (least + (most - least) * noise_weight * softness(mean)) * (1 - 1 / weight)
        cv2.accumulateProduct(detail, cv2.merge([added] * 3), mean)
        return mean

    def blended(self, image: Image, other: Image, share: float) -> Image:
        blended: Image = cv2.addWeighted(image, 1 - share, other, share, 0)
        return blended

    def zeros(self, luma: Luma) -> Trust:
        return np.zeros(luma.shape, np.float32)

    def stacked(self, planes: list[Trust]) -> NDArray[np.float32]:
        return np.stack(planes)

    def window(
        self, pictures: list[Image], trust: NDArray[np.float32]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch  # here only: a survey works without it

        stacked = torch.from_numpy(np.stack(pictures))
        return stacked.permute(0, 3, 1, 2), torch.from_numpy(trust)


OPENCV = OpenCV()


def residual(centre: Luma, other: Luma, flow: Flow) -> NDArray[np.float32]:
    """Mean |difference| (H, W) in code values over 7x7 pixels between a frame and its warped
    match.
    """
    difference = cv2.absdiff(warp(other, flow), centre)
    side = engine.RESIDUAL_SIDE
    mean: NDArray[np.float32] = cv2.boxFilter(difference, cv2.CV_32F, (side, side))
    return mean


def spread(flow: Flow, trusted: NDArray[np.bool_]) -> Flow:
    """Flow in which the Gaussian average of trusted flow replaces untrusted flow."""
    core = cv2.erode(trusted.astype(np.uint8), np.ones((5, 5), np.uint8))
    # The average is smooth: at a quarter of the size it costs a sixteenth.
    quarter = (flow.shape[1] // 4, flow.shape[0] // 4)
    share = cv2.resize(core.astype(np.float32), quarter, interpolation=cv2.INTER_AREA)
    weight = np.floor(share + np.float32(1e-3))  # 1 in blocks without a bad match
    small = cv2.resize(flow, quarter, interpolation=cv2.INTER_AREA) * weight[..., None]
    sigma = engine.FILL_SIGMA / 4
    mean = cv2.GaussianBlur(small, (0, 0), sigma)
    mean /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)[..., None]
    around = cv2.resize(mean, flow.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    filled: Flow = cv2.copyTo(flow, core, around)
    return filled


def softness(image: Image) -> float:
    """How far a frame without noise lacks its finest detail, in [0, 1].

    Film that was blurred is restored softer than film that was sharp.
    """
    luma = cv2.transform(image, LUMA_709[None])
    blurred = cv2.GaussianBlur(luma, (0, 0), engine.DETAIL)
    # together a sigma of 2 * DETAIL
    twice = cv2.GaussianBlur(blurred, (0, 0), 3**0.5 * engine.DETAIL)
    coarser = float(cv2.norm(blurred, twice))
    finest = float(cv2.norm(luma, blurred))
    if min(finest, coarser) == 0:
        return 0.0
    begins, wholly = engine.SOFT
    return min(max((math.log2(finest / coarser) - begins) / (wholly - begins), 0.0), 1.0)
