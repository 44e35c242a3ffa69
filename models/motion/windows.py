"""The stage that aligns every frame's neighbours onto it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from models.frame_state import AlignedWindow, FrameState, Image, number_frames
from models.motion.alignment import SPAN, Aligner, FlowFrame
from models.motion.neighbourhood import neighbourhoods


def align_windows(
    frames: Iterable[FrameState], preset: str = "medium", wanted: Container[int] | None = None
) -> Iterator[FrameState]:
    """The frames with their aligned windows, in order, SPAN frames late.

    ``preset`` is the flow's (`models.motion.alignment.flow_search`). Only frames whose numbers are
    ``wanted`` are returned (default: all); the others serve as neighbours.
    """
    aligner = Aligner(preset)
    pairs = ((frame, FlowFrame.of(frame.source)) for frame in frames)
    for around in neighbourhoods(pairs, SPAN):
        frame, centre = around[0]
        if wanted is None or frame.index in wanted:
            others = {offset: flow for offset, (_, flow) in around.items() if offset}
            warped, trust = aligner.neighbours(centre, others)
            stacked = torch.from_numpy(np.stack([centre.image, *warped]))
            channels_last = stacked.permute(0, 3, 1, 2)  # (5, 3, H, W)
            window = AlignedWindow(channels_last, torch.from_numpy(trust))
            yield replace(frame, window=window)


def windows(images: Iterable[Image], preset: str = "medium") -> Iterator[AlignedWindow]:
    """The aligned window of every frame (H, W, 3) of one shot, in order."""
    for frame in align_windows(number_frames(images), preset):
        assert frame.window is not None
        yield frame.window
