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
from models.fidelity.damage_level import Nearest, noise_level
from models.fidelity.judgement import judge
from models.fidelity.regions import Seen
from models.frame_state import AlignedWindow, Box, FrameState, Image
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
) -> RestoredWindow:
    """Restore the centre of a window (1 + neighbours, 3, H, W), trust (neighbours, H, W).

    In tiles of ``side`` pixels; 0 is the whole frame. ``near`` is what was measured of the window
    before, if it was. Outside of ``places`` the picture is the source's (`restore_in_tiles`).
    Raises torch.OutOfMemoryError.
    """
    near = near or Nearest.of(window[None], trust[None])
    levels = net.levels(near)
    planes = restore_in_tiles(
        net, window, trust, levels, steps=steps, seed=seed, side=side, places=places
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
    ) -> None:
        """``seed`` is of the clip: with a frame's number it fixes the frame's sampling noise.

        ``side`` is that of the first tiles to try; 0 is the whole frame. ``find_places`` says where
        in a frame the network's picture counts; without it, that is everywhere.
        """
        self._net, self._steps, self._seed, self._side = net, steps, seed, side
        self._find_places = find_places

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames restored and judged, in order. Raises OutOfMemory.

        From here on `source`, `image` and what was judged are on the CPU, however the frame came.
        """
        for frame, found in landed(self._restored(frames)):
            image, nearest, defects, differences, facts = found
            alpha, defect_share, noise, error = facts.tolist()
            known = None if math.isnan(noise) else noise
            picture, looked = np.ascontiguousarray(image.numpy()), frame
            if frame.places is None:  # of a GPU: it restored the whole frame
                looked = self._with_places(frame, differences, known)
                picture = _in_places(picture, looked)
            yield replace(
                looked,
                neighbours=np.ascontiguousarray(nearest.numpy()),
                image=picture,
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
            window = frame.window
            ladder = ladder or self.ladder(window)
            nearest = _nearest(window)
            differences = 255 * (window.frames[0].mean(0) - nearest.mean(1))
            near = Nearest.of(window.frames[None], window.trust[None])
            looked = frame
            if not on_gpu(differences):  # from a GPU they land later, and it is not waited for
                level = float(noise_level(near))
                known = None if math.isnan(level) else level
                looked = self._with_places(frame, differences, known)
            seed = self._seed * 1_000_003 + frame.index
            found = self.restore(ladder, window, seed, near, looked.places)
            alpha = found.alpha.nanmean().nan_to_num(1.0)
            shares = alpha, (found.defect_logits > 0).float().mean()
            facts = torch.stack([*shares, found.noise, found.predicted_error])
            there = frame.on_device and frame.on_device._replace(image=found.image)
            kept = replace(looked, window=None, rung=ladder.rung, on_device=there)
            pictures = [picture.permute(1, 2, 0) for picture in (found.image, nearest.mean(0))]
            yield kept, [*pictures, found.defects, differences, facts]

    def _with_places(
        self, frame: FrameState, differences: Tensor, noise: float | None
    ) -> FrameState:
        """The frame with what stands out in it and its places, if they are looked for.

        Without a known noise nothing is known of what stands out.
        """
        if self._find_places is None or noise is None:
            return frame
        seen = Seen.before_network(frame.source, differences.numpy(), noise)
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
            return restore_window(
                net, window.frames, window.trust, steps=self._steps, seed=seed, side=side,
                near=near, places=places,
            )  # fmt: skip

        return ladder.first_that_fits(attempt)


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor is on a GPU."""
    return tensor.is_cuda


def _in_places(image: Image, frame: FrameState) -> Image:
    """The picture with the source's pixels outside of the frame's places."""
    if frame.places is None:
        return image
    kept = frame.source.copy()
    for x, y, wide, high in frame.places:
        kept[y : y + high, x : x + wide] = image[y : y + high, x : x + wide]
    return kept


def _nearest(window: AlignedWindow) -> Tensor:
    """The two neighbours that a frame is compared with, (2, 3, H, W); without any, itself."""
    one, other = nearest_pair(window.offsets) or (-1, -1)
    return torch.stack([window.frames[1 + one], window.frames[1 + other]])
