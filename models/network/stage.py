"""The stage that restores every frame with the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.fidelity.change_bound import filter_share, noise_weight
from models.fidelity.damage_level import Nearest
from models.fidelity.judgement import judge
from models.frame_state import AlignedWindow, FrameState
from models.motion.alignment import nearest_pair
from models.network.memory import Ladder
from models.network.tiling import restore_in_tiles
from models.network.unet import RestorationNet
from models.transfer import landed


class RestoredWindow(NamedTuple):
    """The centre frame of a window as the network restores it, and the judgement of it."""

    image: Tensor  # (3, H, W)
    alpha: Tensor  # share of the source, (H, W) in [0, 1]
    defect_logits: Tensor  # (H, W)
    defects: Tensor  # how far each pixel counts as a defect, (H, W) in [0, 1]
    noise: Tensor  # standard deviation in code values; not a number: not known
    predicted_error: Tensor  # mean error of the source, code values; neither has a dimension


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
        """The frames restored and judged, in order. Raises OutOfMemory.

        From here on `source`, `image` and what was judged are on the CPU, however the frame came.
        """
        for frame, found in landed(self._restored(frames)):
            image, nearest, defects, differences, facts = found
            alpha, defect_share, noise, error = facts.tolist()
            known = None if math.isnan(noise) else noise
            yield replace(
                frame,
                neighbours=np.ascontiguousarray(nearest.numpy()),
                image=np.ascontiguousarray(image.numpy()),
                source_share=alpha,
                defect_share=defect_share,
                defects=defects,
                noise=known,
                predicted_error=error,
                differences=differences,
                noise_weight=noise_weight(known),
                filter_share=filter_share(known, error),
            )

    def _restored(
        self, frames: Iterable[FrameState]
    ) -> Iterator[tuple[FrameState, Sequence[Tensor]]]:
        """The frames with what comes to the CPU, on the window's device.

        The picture and the mean of the nearest neighbours, (H, W, 3); defects (H, W), differences
        (2, H, W) and four numbers.
        """
        ladder: Ladder | None = None
        for frame in frames:
            assert frame.window is not None  # the alignment made it
            ladder = ladder or self.ladder(frame.window)
            found = self.restore(ladder, frame.window, self._seed * 1_000_003 + frame.index)
            near = _nearest(frame.window)
            differences = 255 * (frame.window.frames[0].mean(0) - near.mean(1))
            shares = found.alpha.mean(), (found.defect_logits > 0).float().mean()
            facts = torch.stack([*shares, found.noise, found.predicted_error])
            there = frame.on_device and frame.on_device._replace(image=found.image)
            kept = replace(frame, window=None, rung=ladder.rung, on_device=there)
            pictures = [picture.permute(1, 2, 0) for picture in (found.image, near.mean(0))]
            yield kept, [*pictures, found.defects, differences, facts]

    def ladder(self, window: AlignedWindow) -> Ladder:
        """A ladder for frames of the size of this window."""
        return Ladder(self._net, *window.frames.shape[-2:])

    def restore(self, ladder: Ladder, window: AlignedWindow, seed: int) -> RestoredWindow:
        """One window restored on the first rung that has memory for it. Raises OutOfMemory."""

        def attempt(net: RestorationNet, side: int) -> RestoredWindow:
            return restore_window(
                net, window.frames, window.trust, steps=self._steps, seed=seed, side=side
            )

        return ladder.first_that_fits(attempt)


def _nearest(window: AlignedWindow) -> Tensor:
    """The two neighbours that a frame is compared with, (2, 3, H, W); without any, itself."""
    one, other = nearest_pair(window.offsets) or (-1, -1)
    return torch.stack([window.frames[1 + one], window.frames[1 + other]])
