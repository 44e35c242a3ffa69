"""The stage that restores every frame with the network."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
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
from models.frame_state import AlignedWindow, Box, FrameState, Rung
from models.graphs import Function, give_back
from models.motion.alignment import nearest_pair
from models.network.batch import grouped, places_in_batch, slots
from models.network.memory import Ladder
from models.network.tiling import restore_in_tiles, restore_whole
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


def restore_batch(
    net: RestorationNet,
    windows: Sequence[AlignedWindow],
    whole: Function,
    wanted: Iterable[int],
) -> list[RestoredWindow]:
    """Restore the centres of windows of one size at once; return the ``wanted`` ones.

    For ``whole`` see `restore_whole`. Raises torch.OutOfMemoryError.
    """
    frames = torch.stack([window.frames for window in windows])
    trust = torch.stack([window.trust for window in windows])
    near = Nearest.of(frames, trust)
    levels = net.levels(near).to(next(net.parameters()).device)
    planes = restore_whole(whole, frames, trust, levels)
    return [
        RestoredWindow(
            found.image,
            found.alpha,
            *judge(found.image, found.defect_logits, found.error, trust[k], near.one(k)),
        )
        for k, found in ((k, planes[k]) for k in wanted)
    ]


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
        batch: int = 1,
    ) -> None:
        """``seed`` is of the clip: with a frame's number it fixes the frame's sampling noise.

        ``side`` is that of the first tiles to try; 0 is the whole frame. ``find_places`` says where
        in a frame the network's picture counts; without it, that is everywhere. ``whole`` is of
        the network on its own device (`restore_in_tiles`). It takes ``batch`` windows at once, if
        frames are restored whole and in one step.
        """
        self._net, self._steps, self._seed, self._side = net, steps, seed, side
        self._find_places, self._whole = find_places, whole
        self._batch = batch if whole is not None and steps == 1 and not side else 1

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
        ladders: list[Ladder] = []  # the stream's, from its first frame on

        def at_once(frame: FrameState) -> int:
            if not ladders:
                # on the CPU a frame is looked at first, and has places of its own
                alone = frame.on_device is None and self._find_places is not None
                ladders.append(self.ladder(window_of(frame), 1 if alone else self._batch))
            return ladders[0].rung.batch

        for group in grouped(frames, at_once):
            ladder = ladders[0]
            ready = deque[RestoredWindow]()
            while group:
                frame = group.popleft()
                window = window_of(frame)
                nearest = _nearest(window)
                differences = 255 * (window.frames[0].mean(0) - nearest.mean(1))
                if not ready:
                    frame, near = self._looked(frame, differences, ladder.rung)
                    ready.extend(self._next([frame, *group], ladder, near))
                kept = replace(frame, window=None, rung=ladder.rung)
                yield _handed_on(kept, ready.popleft(), nearest.mean(0), differences)

    def _next(
        self, frames: Sequence[FrameState], ladder: Ladder, near: Nearest | None
    ) -> list[RestoredWindow]:
        """The first of the frames restored, or those of its batch. Raises OutOfMemory."""
        first, *_ = frames

        def attempt(net: RestorationNet, rung: Rung) -> list[RestoredWindow]:
            if rung.batch == 1 or self._whole is None:
                seed = self._seed * 1_000_003 + first.index
                return [self._alone(window_of(first), seed, near, first.places, net, rung)]
            places = places_in_batch([frame.index for frame in frames], rung.batch)
            windows = slots([window_of(frame) for frame in frames], places, rung.batch)
            return restore_batch(net, windows, self._whole, places)

        return ladder.first_that_fits(attempt)

    def _looked(
        self, frame: FrameState, differences: Tensor, rung: Rung
    ) -> tuple[FrameState, Nearest | None]:
        """A frame before the network, and what is measured of its window, unless that is done for
        a batch. On the CPU it has its places, if they are looked for.
        """
        if rung.batch > 1:
            return frame, None
        window = window_of(frame)
        near = Nearest.of(window.frames[None], window.trust[None])
        if frame.on_device is not None or self._find_places is None:
            return frame, near  # from a device they land later, and it is not waited for
        noise = float(noise_level(near))
        compared = Compared(luma_of(frame.source), differences.numpy())
        return self._with_places(frame, compared, None if math.isnan(noise) else noise), near

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

    def ladder(self, window: AlignedWindow, batch: int = 1) -> Ladder:
        """A ladder for frames of the size of this window."""
        height, width = window.frames.shape[-2:]
        free = partial(give_back, self._whole)
        return Ladder(self._net, height, width, self._side, batch, free)

    def restore(self, ladder: Ladder, window: AlignedWindow, seed: int) -> RestoredWindow:
        """One window restored on the first rung that has memory for it. Raises OutOfMemory."""
        return ladder.first_that_fits(partial(self._alone, window, seed, None, None))

    def _alone(
        self,
        window: AlignedWindow,
        seed: int,
        near: Nearest | None,
        places: Sequence[Box] | None,
        net: RestorationNet,
        rung: Rung,
    ) -> RestoredWindow:
        whole = self._whole if net is self._net else None
        return restore_window(
            net, window.frames, window.trust, steps=self._steps, seed=seed, side=rung.side,
            near=near, places=places, whole=whole,
        )  # fmt: skip


def _handed_on(
    frame: FrameState, found: RestoredWindow, around: Tensor, differences: Tensor
) -> tuple[FrameState, Sequence[Tensor]]:
    """A restored frame with what comes to the CPU, see `NetworkStage._restored`.

    ``around`` is the mean of the nearest neighbours, (3, H, W).
    """
    alpha = found.alpha.nanmean().nan_to_num(1.0)
    shares = alpha, (found.defect_logits > 0).float().mean()
    facts = torch.stack([*shares, found.noise, found.predicted_error])
    there = frame.on_device
    if there is None:
        return frame, [facts, found.defects, found.image, around, differences]
    beside = Beside.of(there.source, found.image, differences)
    pictures = there._replace(image=found.image, neighbours=around + beside.lighter / 255)
    return replace(frame, on_device=pictures), [facts, found.defects.half(), *to_land(beside)]


def window_of(frame: FrameState) -> AlignedWindow:
    """The window of a frame that was aligned."""
    assert frame.window is not None  # the alignment made it
    return frame.window


def _nearest(window: AlignedWindow) -> Tensor:
    """The two neighbours that a frame is compared with, (2, 3, H, W); without any, itself."""
    one, other = nearest_pair(window.offsets) or (-1, -1)
    return torch.stack([window.frames[1 + one], window.frames[1 + other]])
