"""The stage that restores every frame with the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from models.fidelity.change_bound import filter_share, noise_weight
from models.fidelity.damage_level import Nearest
from models.fidelity.judgement import judge
from models.frame_state import AlignedWindow, FrameState
from models.motion.alignment import nearest_pair
from models.network.memory import Ladder
from models.network.tiling import restore_in_tiles
from models.network.unet import RestorationNet


class RestoredWindow(NamedTuple):
    """The centre frame of a window as the network restores it, and the judgement of it."""

    image: Tensor  # (3, H, W)
    alpha: Tensor  # share of the source, (H, W) in [0, 1]
    defect_logits: Tensor  # (H, W)
    defects: Tensor  # how far each pixel counts as a defect, (H, W) in [0, 1]
    noise: float | None  # standard deviation in code values; None: not known
    predicted_error: float  # mean error of the source, code values


def restore_window(
    net: RestorationNet, window: Tensor, trust: Tensor, *, steps: int, seed: int, side: int = 0
) -> RestoredWindow:
    """Restore the centre of a window (1 + neighbours, 3, H, W), trust (neighbours, H, W).

    In tiles of ``side`` pixels; 0 is the whole frame. Raises torch.OutOfMemoryError.
    """
    near = Nearest.of(window[None], trust[None])
    levels = net.levels(near)
    planes = restore_in_tiles(net, window, trust, levels, steps=steps, seed=seed, side=side)
    judged = judge(planes.image, planes.defect_logits, planes.error, trust, near)
    return RestoredWindow(planes.image, planes.alpha, *judged)


class NetworkStage:
    """The network for one stream of frames of one size, with less memory when it runs out."""

    def __init__(self, net: RestorationNet, steps: int, seed: int = 0) -> None:
        """``seed`` is of the clip: with a frame's number it fixes the frame's sampling noise."""
        self._net, self._steps, self._seed = net, steps, seed

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames restored and judged, in order. Raises OutOfMemory."""
        ladder: Ladder | None = None
        for frame in frames:
            assert frame.window is not None  # the alignment made it
            ladder = ladder or self.ladder(frame.window)
            found = self.restore(ladder, frame.window, self._seed * 1_000_003 + frame.index)
            near = _nearest(frame.window)
            yield replace(
                frame,
                neighbours=np.ascontiguousarray(near.mean(0).permute(1, 2, 0).numpy()),
                differences=255 * (frame.window.frames[0].mean(0) - near.mean(1)),
                image=np.ascontiguousarray(found.image.permute(1, 2, 0).numpy()),
                window=None,
                rung=ladder.rung,
                source_share=float(found.alpha.mean()),
                defect_share=float((found.defect_logits > 0).float().mean()),
                defects=found.defects,
                noise=found.noise,
                predicted_error=found.predicted_error,
                noise_weight=noise_weight(found.noise),
                filter_share=filter_share(found.noise, found.predicted_error),
            )

    def ladder(self, window: AlignedWindow) -> Ladder:
        """A ladder for frames of the size of this window."""
        return Ladder(self._net, *window.frames.shape[-2:])

    def restore(self, ladder: Ladder, window: AlignedWindow, seed: int) -> RestoredWindow:
        """One window restored on the first rung that has memory for it. Raises OutOfMemory."""

        def attempt(net: RestorationNet, side: int) -> RestoredWindow:
            return restore_window(net, *window, steps=self._steps, seed=seed, side=side)

        return ladder.first_that_fits(attempt)


def _nearest(window: AlignedWindow) -> Tensor:
    """The two neighbours that a frame is compared with, (2, 3, H, W); without any, itself."""
    pair = nearest_pair(window.trust.numpy())
    return window.frames[[1 + k for k in pair] if pair else [0, 0]]
