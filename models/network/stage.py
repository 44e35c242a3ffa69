"""The stage that restores every frame with the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.fidelity.change_bound import filter_share, noise_weight
from models.fidelity.compared import Compared, luma_of
from models.fidelity.damage_level import Nearest, noise_level
from models.fidelity.judgement import judge
from models.fidelity.on_device import Beside, landed_planes, to_land
from models.fidelity.regions import Seen
from models.frame_state import AlignedWindow, Box, FrameState
from models.graphs import Function
from models.motion.alignment import nearest_pair
from models.network.memory import Ladder
from models.network.tiling import restore_in_tiles
from models.network.unet import RestorationNet
from models.transfer import landed

# What stands out in a frame, and the frame's number: where in it the network's picture counts.
FindPlaces = Callable[[Seen, int], tuple[Box, ...]]


class RestoredWindow(NamedTuple):
    """The centre frame of a window as the network restores it, and the judgement of it."""

    image: Tensor  # (3, H, W)
    alpha: Tensor  # share of the source, (H, W) in [0, 1]
    defect_logits: Tensor  # (H, W)
    defects: Tensor  # how far each pixel counts as a defect, (H, W) in [0, 1]
    noise: Tensor  # standard deviation in code values; not a number: not known
    predicted_error: Tensor  # mean error of the source, code values; neither has a dimension


def restore_window(
    net: RestorationNet,
    window: Tensor,
    trust: Tensor,
    *,
    steps: int,
    seed: int,
    side: int = 0,
    near: Nearest | None = None,
    places: Sequence[Box] | None = None,
    whole: Function | None = None,
) -> RestoredWindow:
    """Restore the centre of a window (1 + neighbours, 3, H, W), trust (neighbours, H, W).

    In tiles of ``side`` pixels; 0 is the whole frame. ``near`` is what was measured of the window
    before, if it was. For ``places`` and ``whole`` see `restore_in_tiles`.
    Raises torch.OutOfMemoryError.
    """
    near = near or Nearest.of(window[None], trust[None])
    levels = net.levels(near)
    planes = restore_in_tiles(
        net, window, trust, levels, steps=steps, seed=seed, side=side, places=places, whole=whole
    )
    judged = judge(planes.image, planes.defect_logits, planes.error, trust, near)
    return RestoredWindow(planes.image, planes.alpha, *judged)


class NetworkStage:
    """The network for one stream of frames of one size, with less memory when it runs out."""

    def __init__(
        self,
        net: RestorationNet,
        steps: int,
        seed: int = 0,
        side: int = 0,
        find_places: FindPlaces | None = None,
        whole: Function | None = None,
    ) -> None:
        """``seed`` is of the clip: with a frame's number it fixes the frame's sampling noise.

        ``side`` is that of the first tiles to try; 0 is the whole frame. ``find_places`` says where
        in a frame the network's picture counts; without it, that is everywhere. ``whole`` is of
        the network on its own device (`restore_in_tiles`).
        """
        self._net, self._steps, self._seed, self._side = net, steps, seed, side
        self._find_places, self._whole = find_places, whole

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames restored and judged, in order. Raises OutOfMemory.

        What was judged is on the CPU. Pictures stay on the device if they are there; then
        `compared` has what the evidence needs of them.
        """
        for frame, (facts, defects, *others) in landed(self._restored(frames)):
            alpha, defect_share, noise, error = facts.tolist()
            known = None if math.isnan(noise) else noise
            judged = replace(
                frame,
                source_share=alpha,
                defect_share=defect_share,
                defects=defects.float(),
                noise=known,
                predicted_error=error,
                noise_weight=noise_weight(known),
                filter_share=filter_share(known, error),
            )
            if frame.on_device is None:
                image, nearest, differences = others
                picture, around = (
                    np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in (image, nearest)
                )
                yield replace(judged, image=picture, neighbours=around, differences=differences)
            else:  # the whole frame was restored
                compared = landed_planes(*others)
                yield self._with_places(replace(judged, compared=compared), compared, known)

    def _restored(
        self, frames: Iterable[FrameState]
    ) -> Iterator[tuple[FrameState, Sequence[Tensor]]]:
        """The frames with what comes to the CPU, on the window's device.

        Four numbers and the defects (H, W). Then the picture and the mean of the nearest neighbours
        (3, H, W) and differences (2, H, W); of a frame on a device, what `landed_planes` takes.
        """
        ladder: Ladder | None = None
        for frame in frames:
            assert frame.window is not None  # the alignment made it
            window = frame.window
            ladder = ladder or self.ladder(window)
            nearest = _nearest(window)
            differences = 255 * (window.frames[0].mean(0) - nearest.mean(1))
            near = Nearest.of(window.frames[None], window.trust[None])
            looked, there = frame, frame.on_device
            if there is None:  # from a device they land later, and it is not waited for
                looked = self._looked(frame, differences, float(noise_level(near)))
            seed = self._seed * 1_000_003 + frame.index
            found = self.restore(ladder, window, seed, near, looked.places)
            alpha = found.alpha.nanmean().nan_to_num(1.0)
            shares = alpha, (found.defect_logits > 0).float().mean()
            facts = torch.stack([*shares, found.noise, found.predicted_error])
            kept = replace(looked, window=None, rung=ladder.rung)
            if there is None:
                yield kept, [facts, found.defects, found.image, nearest.mean(0), differences]
                continue
            beside = Beside.of(there.source, found.image, differences)
            lit = nearest.mean(0) + beside.lighter / 255
            pictures = there._replace(image=found.image, neighbours=lit)
            kept = replace(kept, on_device=pictures)
            yield kept, [facts, found.defects.half(), *to_land(beside)]

    def _looked(self, frame: FrameState, differences: Tensor, noise: float) -> FrameState:
        """A frame on the CPU before the network, with its places if they are looked for."""
        if self._find_places is None or math.isnan(noise):
            return frame
        compared = Compared(luma_of(frame.source), differences.numpy())
        return self._with_places(frame, compared, noise)

    def _with_places(
        self, frame: FrameState, compared: Compared, noise: float | None
    ) -> FrameState:
        """The frame with what stands out in it and its places, if they are looked for.

        Without a known noise nothing is known of what stands out.
        """
        if self._find_places is None or noise is None:
            return frame
        seen = Seen.beside(compared, noise)
        return replace(frame, seen=seen, places=self._find_places(seen, frame.index))

    def ladder(self, window: AlignedWindow) -> Ladder:
        """A ladder for frames of the size of this window."""
        height, width = window.frames.shape[-2:]
        return Ladder(self._net, height, width, self._side)

    def restore(
        self,
        ladder: Ladder,
        window: AlignedWindow,
        seed: int,
        near: Nearest | None = None,
        places: Sequence[Box] | None = None,
    ) -> RestoredWindow:
        """One window restored on the first rung that has memory for it. Raises OutOfMemory."""

        def attempt(net: RestorationNet, side: int) -> RestoredWindow:
            whole = self._whole if net is self._net else None
            return restore_window(
                net, window.frames, window.trust, steps=self._steps, seed=seed, side=side,
                near=near, places=places, whole=whole,
            )  # fmt: skip

        return ladder.first_that_fits(attempt)


def _nearest(window: AlignedWindow) -> Tensor:
    """The two neighbours that a frame is compared with, (2, 3, H, W); without any, itself."""
    one, other = nearest_pair(window.offsets) or (-1, -1)
    return torch.stack([window.frames[1 + one], window.frames[1 + other]])
