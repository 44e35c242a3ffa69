"""Restored frames averaged along their motion.

The network's errors differ from frame to frame, and the picture moves with its motion.
Motion-compensated temporal filtering (Dubois and Sabri, IEEE Trans. Communications 32, 1984) after
the network, with a weight for every pixel: a neighbour counts as far as it agrees with the frame.
So nothing is smeared where a match fails or light changes
(docs/experiments/2026-11-28-temporal-filter.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from models.frame_state import FrameState
from models.motion.alignment import FlowFrame, flow_step, further
from models.motion.engine import Array, Engine
from models.motion.neighbourhood import neighbourhoods
from models.motion.opencv import OPENCV

FILTER_REACH = 2  # frames each side that are averaged
MATCHED = 0.7  # sigma in pixels of the blur of the luma that flow is searched in


class TemporalFilter:
    """The stage that averages restored frames of one shot; FILTER_REACH frames late.

    Each frame depends on FILTER_REACH frames each side.
    """

    def __init__(self, engine: Engine = OPENCV) -> None:
        self._engine, self._search = engine, engine.search("ultrafast")

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames filtered by their ``filter_share``, in order.

        The average loses contrast in fine detail. The more ``noise_weight`` and the softer the
        frame, the more of it is added back.
        """
        engine = self._engine
        pairs = ((frame, FlowFrame.of(engine.image(frame), MATCHED, engine)) for frame in frames)
        for around in neighbourhoods(pairs, FILTER_REACH):
            frame, here = around[0]
            if (share := frame.filter_share) > 0:
                flows = {offset: flow for offset, (_, flow) in around.items()}
                mean = self._mean(flows, frame.noise_weight)
                frame = engine.with_image(frame, engine.blended(here.image, mean, share))
            yield frame

    def _mean(self, around: Mapping[int, FlowFrame], noise_weight: float) -> Array:
        mean, weight = self._engine.weighted_mean(around[0].image, self._moved(around))
        return self._engine.sharpened(mean, weight, noise_weight)

    def _moved(self, around: Mapping[int, FlowFrame]) -> Iterator[tuple[Array, Array]]:
        """The neighbours warped onto the centre frame, each with its weight."""
        engine, here = self._engine, around[0].image
        for side in (-1, 1):
            flow: Array | None = None
            for offset in range(side, side * (FILTER_REACH + 1), side):
                if (there := around.get(offset)) is None:
                    break
                step = flow_step(self._search, around[offset - side], there, side)
                flow = step if flow is None else further(engine, flow, step)
                moved = engine.warp(there.image, flow, cubic=True)
                yield moved, engine.agreement(here, moved)
