"""Neighbouring frames warped onto the centre frame, with a confidence for every pixel.

On moving footage a stack of frames is of no use without alignment. DIS flow (Kroeger et al., ECCV
2016) on blurred luma is enough: better flow would add at most 0.3 dB
(docs/experiments/2026-11-27-finer-flow.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from models.frame_state import AlignedWindow
from models.motion.engine import Array, Engine, Search
from models.motion.opencv import OPENCV

OFFSETS = (-2, -1, 1, 2)  # neighbours of a centre frame, in frames
PAIRS = ((-1, 1), (1, 2), (-2, -1))  # offsets of two neighbours to compare with, the best first
OUTERMOST = max(OFFSETS)
SPAN = 2 * OUTERMOST  # frames each side used by a window: an outer neighbour is a mean of three
LUMA_SIGMA = 1.5  # pixels: with it DIS matches noisy frames as well as restored ones


@dataclass
class FlowFrame:
    """A picture of an engine with the results that alignment caches for later windows."""

    image: Array
    luma: Array
    steps: dict[int, Array] = field(default_factory=dict)  # flow to the next (1), previous (-1)
    near: dict[int, tuple[Array, Array]] = field(default_factory=dict)  # next, previous, warped
    far: dict[int, tuple[Array, Array]] = field(default_factory=dict)  # flow over two frames

    @classmethod
    def of(cls, image: Array, sigma: float = LUMA_SIGMA, engine: Engine = OPENCV) -> Self:
        """The frame with its luma in whole code values, blurred by ``sigma`` pixels."""
        return cls(image, engine.luma(image, sigma))


def nearest_pair(offsets: Collection[int]) -> tuple[int, int] | None:
    """The two neighbours to compare a frame with: one each side, or at a shot's end two on one.

    ``offsets`` are those of the neighbours that the shot has. The pair is given as places in
    OFFSETS. None in a shot of one or two frames.
    """
    for one, other in PAIRS:
        if one in offsets and other in offsets:
            return OFFSETS.index(one), OFFSETS.index(other)
    return None


def flow_step(search: Search, frame: FlowFrame, neighbour: FlowFrame, side: int) -> Array:
    """Flow from a frame to the next (``side`` 1) or the previous one (-1), cached in the frame."""
    if side not in frame.steps:
        frame.steps[side] = search(frame.luma, neighbour.luma)
    return frame.steps[side]


def further(engine: Engine, flow: Array, step: Array) -> Array:
    """Flow to a frame, extended by one step."""
    return flow + engine.warp(step, flow)


class Aligner:
    """DIS flow from a centre frame to its neighbours, filled from its surroundings at bad matches.

    Flow over two frames is the sum of two steps. Every step serves several windows, so a frame
    costs two flows instead of four, at a loss of 0.01 dB
    (docs/experiments/2026-11-22-flow-cost.md).
    """

    def __init__(self, preset: str = "medium", engine: Engine = OPENCV) -> None:
        self._engine, self._search = engine, engine.search(preset)

    def window(self, centre: FlowFrame, others: Mapping[int, FlowFrame]) -> AlignedWindow:
        """The centre and its warped neighbours, as `neighbours` finds them."""
        warped, trust = self.neighbours(centre, others)
        frames, trust = self._engine.window([centre.image, *warped], trust)
        return AlignedWindow(frames, trust, tuple(k for k in OFFSETS if k in others))

    def neighbours(
        self, centre: FlowFrame, others: Mapping[int, FlowFrame]
    ) -> tuple[list[Array], Array]:
        """Warped neighbours, one per offset, and confidences (len(OFFSETS), H, W) in [0, 1].

        The outermost two are means of the frames up to SPAN away on their side. An offset that is
        missing from ``others`` gives the centre itself with confidence 0.
        """
        warped: list[Array] = []
        trust: list[Array] = []
        for offset in OFFSETS:
            other = others.get(offset)
            if other is None:
                image, believed = centre.image, self._engine.zeros(centre.luma)
            elif abs(offset) < OUTERMOST:
                image, believed = self._near(centre, others, offset)
            else:
                flow, believed = self._far(centre, others, offset)
                beyond = {at - offset: frame for at, frame in others.items()}
                mean = self._mean(other, beyond, offset // OUTERMOST)
                moved = self._engine.warp(mean, flow, cubic=True)
                image = self._engine.keep_edges(centre.image, moved, other.image)
            warped.append(image)
            trust.append(believed)
        _forget({0: centre, **others})
        return warped, self._engine.stacked(trust)

    def _mean(self, frame: FlowFrame, others: Mapping[int, FlowFrame], side: int) -> Array:
        """Mean of the frame and the two beyond it on one side, weighted by their confidence.

        It has less noise, and a weaker trace of a defect.
        """
        seen: list[tuple[Array, Array]] = []
        if side in others:
            seen.append(self._near(frame, others, side))
        if (far := OUTERMOST * side) in others:
            flow, trust = self._far(frame, others, far)
            seen.append((self._moved(frame, others[far], flow), trust))
        return self._engine.weighted_mean(frame.image, seen)[0]

    def _near(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Array, Array]:
        if offset not in frame.near:
            flow, trust = self._match(frame, others, offset)
            frame.near[offset] = self._moved(frame, others[offset], flow), trust
        return frame.near[offset]

    def _moved(self, frame: FlowFrame, other: FlowFrame, flow: Array) -> Array:
        """Another frame's picture warped onto the frame."""
        moved = self._engine.warp(other.image, flow, cubic=True)
        return self._engine.keep_edges(frame.image, moved, other.image)

    def _far(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Array, Array]:
        if offset not in frame.far:
            frame.far[offset] = self._match(frame, others, offset)
        return frame.far[offset]

    def _match(
        self, frame: FlowFrame, others: Mapping[int, FlowFrame], offset: int
    ) -> tuple[Array, Array]:
        flow = self._flow(frame, others, offset)
        return self._engine.matched(frame.luma, others[offset].luma, flow)

    def _flow(self, centre: FlowFrame, others: Mapping[int, FlowFrame], offset: int) -> Array:
        side = 1 if offset > 0 else -1
        between = others.get(side)
        if between is None:
            return self._search(centre.luma, others[offset].luma)
        near = flow_step(self._search, centre, between, side)
        if offset == side:
            return near
        return further(self._engine, near, flow_step(self._search, between, others[offset], side))


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
