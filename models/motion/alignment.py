"""Neighbouring frames warped onto the centre frame, with a confidence for every pixel.

On moving footage a stack of frames is of no use without alignment. OpenCV's DIS flow (Kroeger et
al., ECCV 2016) on blurred luma is enough: better flow would add at most 0.3 dB
(docs/experiments/2026-11-27-finer-flow.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import Image
from models.motion.deflicker import LUMA_709, warp
from models.motion.flow import dis_flow

OFFSETS = (-2, -1, 1, 2)  # neighbours of a centre frame, in frames
PAIRS = ((-1, 1), (1, 2), (-2, -1))  # offsets of two neighbours to compare with, the best first
OUTERMOST = max(OFFSETS)
SPAN = 2 * OUTERMOST  # frames each side used by a window: an outer neighbour is a mean of three
MISMATCH = 14.0  # mean |difference| in code values over 7x7 pixels from which a match is replaced
REFINEMENTS = {"coarse": 0, "medium": 3, "fine": 12}  # variational refinements of each flow preset
OPENCV = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,  # for restored frames
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,  # for training, which aligns many windows
}
EDGE = 8  # pixels from an edge of the frame in which a line may stay while the picture moves
EDGE_RUN = 7  # pixels along an edge over which a match is compared
FILL_SIGMA = 14.0  # pixels over which flow is spread into places without a match

Flow = NDArray[np.float32]  # (H, W, 2) in pixels
Trust = NDArray[np.float32]  # confidence in a match, (H, W) in [0, 1]


@dataclass
class FlowFrame:
    """A frame (H, W, 3) float32 RGB with the results that alignment caches for later windows."""

    image: Image
    luma: NDArray[np.uint8]
    steps: dict[int, Flow] = field(default_factory=dict)  # flow to the next (1), previous (-1)
    near: dict[int, tuple[Image, Trust]] = field(default_factory=dict)  # next, previous, warped
    far: dict[int, tuple[Flow, Trust]] = field(default_factory=dict)  # flow over two frames

    @classmethod
    def of(cls, image: Image, sigma: float = 1.5) -> Self:
        """The frame with 8-bit luma, blurred by ``sigma`` pixels.

        With sigma 1.5 DIS matches noisy frames as well as restored ones.
        """
        luma = cv2.GaussianBlur(image @ (LUMA_709 * 255), (0, 0), sigma)
        return cls(image, np.clip(np.rint(luma), 0, 255).astype(np.uint8))


def flow_search(preset: str) -> cv2.DISOpticalFlow:
    """DIS flow of a preset: a key of OPENCV or of REFINEMENTS."""
    if preset in OPENCV:
        return cv2.DISOpticalFlow_create(OPENCV[preset])
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setPatchStride(4)  # these three settings halve the time and cost at most 0.02 dB
    dis.setGradientDescentIterations(12)
    dis.setVariationalRefinementIterations(REFINEMENTS[preset])
    return dis


def nearest_pair(trust: NDArray[np.float32]) -> tuple[int, int] | None:
    """The two neighbours to compare a frame with: one each side, or at a shot's end two on one.

    As indices of the confidences (len(OFFSETS), H, W). None in a shot of one or two frames.
    """
    there = {offset: k for k, offset in enumerate(OFFSETS) if trust[k].any()}
    for one, other in PAIRS:
        if one in there and other in there:
            return there[one], there[other]
    return None


def flow_step(
    search: cv2.DISOpticalFlow, frame: FlowFrame, neighbour: FlowFrame, side: int
) -> Flow:
    """Flow from a frame to the next (``side`` 1) or the previous one (-1), cached in the frame."""
    if side not in frame.steps:
        frame.steps[side] = dis_flow(search, frame.luma, neighbour.luma)
    return frame.steps[side]


def further(flow: Flow, step: Flow) -> Flow:
    """Flow to a frame, extended by one step."""
    return flow + warp(step, flow)


class Aligner:
    """DIS flow from a centre frame to its neighbours, filled from its surroundings at bad matches.

    Flow over two frames is the sum of two steps. Every step serves several windows, so a frame
    costs two flows instead of four, at a loss of 0.01 dB
    (docs/experiments/2026-11-22-flow-cost.md).
    """

    def __init__(self, preset: str = "medium") -> None:
        self._dis = flow_search(preset)

    def neighbours(
        self, centre: FlowFrame, others: Mapping[int, FlowFrame]
    ) -> tuple[list[Image], NDArray[np.float32]]:
        """Warped neighbours, one per offset, and confidences (len(OFFSETS), H, W) in [0, 1].

        The outermost two are means of the frames up to SPAN away on their side. An offset that is
        missing from ``others`` gives the centre itself with confidence 0.
        """
        warped: list[Image] = []
        trust = np.zeros((len(OFFSETS), *centre.luma.shape), np.float32)
        for k, offset in enumerate(OFFSETS):
            other = others.get(offset)
            if other is None:
                image = centre.image
            elif abs(offset) < OUTERMOST:
                image, trust[k] = self._near(centre, others, offset)
            else:
                flow, trust[k] = self._far(centre, others, offset)
                beyond = {at - offset: frame for at, frame in others.items()}
                mean = self._mean(other, beyond, offset // OUTERMOST)
                image = keep_edges(centre.image, warp(mean, flow, cubic=True), other.image)
            warped.append(image)
        _forget({0: centre, **others})
        return warped, trust

    def _mean(self, frame: FlowFrame, others: Mapping[int, FlowFrame], side: int) -> Image:
        """Mean of the frame and the two beyond it on one side, weighted by their confidence.

        It has less noise, and a weaker trace of a defect.
        """
        seen: list[tuple[Image, Trust]] = []
        if side in others:
            seen.append(self._near(frame, others, side))
        if (far := OUTERMOST * side) in others:
            flow, trust = self._far(frame, others, far)
            image = others[far].image
            seen.append((keep_edges(frame.image, warp(image, flow, cubic=True), image), trust))
        return weighted_mean(frame.image, seen)[0]

    def _near(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Image, Trust]:
        if offset not in frame.near:
            flow, trust = self._match(frame, others, offset)
            image = others[offset].image
            moved = keep_edges(frame.image, warp(image, flow, cubic=True), image)
            frame.near[offset] = moved, trust
        return frame.near[offset]

    def _far(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Flow, Trust]:
        if offset not in frame.far:
            frame.far[offset] = self._match(frame, others, offset)
        return frame.far[offset]

    def _match(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Flow, Trust]:
        flow, error = _mended(frame.luma, others[offset].luma, self._flow(frame, others, offset))
        return flow, confidence(error)

    def _flow(self, centre: FlowFrame, others: Mapping[int, FlowFrame], offset: int) -> Flow:
        side = 1 if offset > 0 else -1
        between = others.get(side)
        if between is None:
            return dis_flow(self._dis, centre.luma, others[offset].luma)
        near = flow_step(self._dis, centre, between, side)
        if offset == side:
            return near
        return further(near, flow_step(self._dis, between, others[offset], side))


def keep_edges(centre: Image, warped: Image, still: Image) -> Image:
    """The neighbour ``warped`` onto ``centre``, near the edges as it was if that fits better.

    Transfers of film often have a dark or half dark line at an edge. It stays while the picture
    moves, so the flow of the picture would tear it away. ``still`` is the neighbour before it was
    warped. The three pictures are (H, W, 3); ``warped`` is changed.
    """
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
    image: Image, others: Iterable[tuple[Image, Trust]]
) -> tuple[Image, NDArray[np.float32]]:
    """Weighted mean of an image and others, and the sum of the weights (H, W).

    The image's weight is 1; each of the others comes with its weight (H, W).
    """
    total, weight = image.copy(), np.ones(image.shape[:2], np.float32)
    for other, other_weight in others:
        cv2.accumulateProduct(other, cv2.merge([other_weight] * 3), total)
        weight += other_weight
    mean: Image = cv2.divide(total, cv2.merge([weight] * 3))
    return mean, weight


def _forget(frames: Mapping[int, FlowFrame]) -> None:
    """Drop cached results that no later window uses: flow is most of a window's memory."""
    for at, frame in frames.items():
        for kept, ahead, behind in (
            (frame.steps, OUTERMOST, -1),
            (frame.near, 0, -OUTERMOST),
            (frame.far, 0, -OUTERMOST),
        ):
            for offset in [k for k in kept if at <= (ahead if k > 0 else behind)]:
                kept.pop(offset)


def confidence(error: NDArray[np.float32], half: float = 7.0) -> Trust:
    """Confidence: 1 where blurred frames agree, 0.5 at a residual of ``half`` code values, then
    falling to 0.
    """
    trust: Trust = 1.0 / (1.0 + np.square(error / np.float32(half)))
    return trust


def residual(
    centre: NDArray[np.uint8], other: NDArray[np.uint8], flow: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean |difference| (H, W) in code values over 7x7 pixels between a frame and its warped
    match.
    """
    difference = cv2.absdiff(warp(other, flow), centre)
    mean: NDArray[np.float32] = cv2.boxFilter(difference, cv2.CV_32F, (7, 7))
    return mean


def _mended(
    centre: NDArray[np.uint8], other: NDArray[np.uint8], flow: Flow
) -> tuple[Flow, NDArray[np.float32]]:
    """Flow with bad matches replaced, and the flow's residual (H, W) in code values."""
    error = residual(centre, other, flow)
    trusted = error < MISMATCH
    if not 0.02 < float(trusted.mean()) < 0.998:
        return flow, error
    flow = _spread(flow, trusted)
    return flow, residual(centre, other, flow)


def _spread(flow: Flow, trusted: NDArray[np.bool_]) -> Flow:
    """Flow in which the Gaussian average of trusted flow replaces untrusted flow."""
    core = cv2.erode(trusted.astype(np.uint8), np.ones((5, 5), np.uint8))
    # The average is smooth: at a quarter of the size it costs a sixteenth.
    quarter = (flow.shape[1] // 4, flow.shape[0] // 4)
    share = cv2.resize(core.astype(np.float32), quarter, interpolation=cv2.INTER_AREA)
    weight = np.floor(share + np.float32(1e-3))  # 1 in blocks without a bad match
    small = cv2.resize(flow, quarter, interpolation=cv2.INTER_AREA) * weight[..., None]
    sigma = FILL_SIGMA / 4
    mean = cv2.GaussianBlur(small, (0, 0), sigma)
    mean /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)[..., None]
    around = cv2.resize(mean, flow.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    spread: Flow = cv2.copyTo(flow, core, around)
    return spread
