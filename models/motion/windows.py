"""The stage that aligns every frame's neighbours onto it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from models.frame_state import AlignedWindow, FrameState, Image, number_frames
from models.motion.alignment import LUMA_SIGMA, SPAN, Aligner, FlowFrame
from models.motion.engine import Engine
from models.motion.neighbourhood import neighbourhoods
from models.motion.opencv import OPENCV


def align_windows(
    frames: Iterable[FrameState],
    preset: str = "medium",
    wanted: Container[int] | None = None,
    engine: Engine = OPENCV,
) -> Iterator[FrameState]:
    """The frames with their aligned windows, in order, SPAN frames late.

    ``preset`` is the flow's (`models.motion.flow.flow_search`). Only frames whose numbers are
    ``wanted`` are returned (default: all); the others serve as neighbours.
    """
    aligner = Aligner(preset, engine)
    pairs = ((frame, FlowFrame.of(engine.source(frame), LUMA_SIGMA, engine)) for frame in frames)
    for around in neighbourhoods(pairs, SPAN):
        frame, centre = around[0]
        if wanted is None or frame.index in wanted:
            others = {offset: flow for offset, (_, flow) in around.items() if offset}
            yield replace(frame, window=aligner.window(centre, others))


def windows(images: Iterable[Image], preset: str = "medium") -> Iterator[AlignedWindow]:
    """The aligned window of every frame (H, W, 3) of one shot, in order."""
    for frame in align_windows(number_frames(images), preset):
        assert frame.window is not None
        yield frame.window
