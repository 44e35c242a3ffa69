"""A stream of frames of one shot in, restored frames out: exposure, alignment, network, temporal
filter, restraint.

Memory is a window of frames whatever the shot's length, and every frame depends only on CONTEXT
frames each side of it, so a shot cut into shards gives the picture of the whole shot.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fidelity.change_bound import impaired, loudness, restrained
from models.motion.alignment import SPAN, Aligner, Frame
from models.motion.deflicker import CONTEXT as EXPOSURE_CONTEXT
from models.motion.deflicker import Curve, ExposureChain, Image
from models.motion.interpolate import filled
from models.motion.temporal_filter import REACH as FILTER_REACH
from models.motion.temporal_filter import TemporalFilter
from models.network import checkpoint, tiling
from models.network.memory import Ladder, Rung
from models.network.unet import SIZES, RestorationNet

# Frames each side of a shard that its frames depend on.
CONTEXT = EXPOSURE_CONTEXT + SPAN + FILTER_REACH
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
KEPT_BUFFER, KEPT_IN_ALL = 32 << 20, 1 << 30  # bytes; glibc takes no more for the first


@dataclass(frozen=True)
class Restored:
    """One restored frame (H, W, 3) float32 in [0, 1], with what was done to it."""

    image: Image
    source_share: float  # mean alpha: how much of each pixel is the source itself
    defect_share: float  # of the pixels, found to be a scratch, dust or blotch
    curve: Curve  # exposure correction that was applied
    rung: Rung  # where the network had the memory for it


@dataclass(frozen=True)
class _Found:
    """What is known of a frame between the network and the restraint."""

    index: int  # in the stream
    source: Tensor  # (3, H, W)
    pictures: tiling.Pictures
    rung: Rung

    def restrained(self, image: Image, curve: Curve) -> Restored:
        """The frame with its filtered picture (H, W, 3)."""
        of, filtered = self.pictures, torch.from_numpy(image).permute(2, 0, 1)
        held = restrained(filtered, self.source, of.defects, of.noise, of.error)
        return Restored(
            np.ascontiguousarray(held.permute(1, 2, 0).numpy()),
            float(of.alpha.mean()),
            float((of.defect_logits > 0).float().mean()),
            curve,
            self.rung,
        )


def limit_threads(count: int) -> None:
    """Threads of PyTorch and OpenCV in this process: one an actor, as many actors as cores."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


@cache
def keep_freed_memory() -> None:
    """Have this process keep the memory that a frame frees for the next one.

    glibc would give large buffers back to the kernel, to be faulted in again page by page: a tenth
    of the time of a frame of 1280x720 (mallopt(3); docs/experiments/2026-11-28-freed-memory.md).
    Nothing under another C library.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, KEPT_BUFFER)
        mallopt(M_TRIM_THRESHOLD, KEPT_IN_ALL)


def windows(
    frames: Iterable[Image], preset: str = "medium", wanted: Container[int] | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """(5, 3, H, W) aligned windows, centre first, and trust (4, H, W), for every frame in order,
    or for those whose place in ``frames`` is ``wanted``.
    """
    aligner = Aligner(preset)
    held: dict[int, Frame] = {}
    count = done = 0

    def window(i: int) -> Iterator[tuple[Tensor, Tensor]]:
        if wanted is None or i in wanted:
            around = {k - i: frame for k, frame in held.items() if k != i}
            warped, trust = aligner.neighbours(held[i], around)
            stacked = torch.from_numpy(np.stack([held[i].image, *warped]))
            yield stacked.permute(0, 3, 1, 2), torch.from_numpy(trust)  # channels_last
        held.pop(i - SPAN, None)

    for frame in frames:
        held[count] = Frame.of(frame)
        count += 1
        if done + SPAN < count:
            yield from window(done)
            done += 1
    for i in range(done, count):
        yield from window(i)


class Restorer:
    """The model as the pipeline uses it: weights of one size on one device."""

    def __init__(
        self,
        size: str = "base",
        steps: int = 1,
        device: str | None = None,
        weights: Path | None = None,
    ) -> None:
        keep_freed_memory()
        path = weights or checkpoint.shipped(size)
        self.device = torch.device(device) if device else checkpoint.device_default()
        net = checkpoint.load(path, None if weights else checkpoint.pinned(size))
        self.net: RestorationNet = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._flow = SIZES[self.net.size].flow
        self.steps = steps
        self.sha256 = checkpoint.sha256(path)

    def stream(
        self,
        frames: Iterable[Image],
        *,
        deflicker: bool,
        seed: int = 0,
        first_index: int = 0,
        missing: Container[int] = (),
        wanted: range | None = None,
    ) -> Iterator[Restored]:
        """Restore the frames (H, W, 3) float32 RGB of one shot, in order.

        ``first_index`` is the first frame's number in its clip: with ``seed`` it fixes the sampling
        noise, so that a shard draws what the whole clip would have drawn. Frames whose numbers are
        ``missing`` are made from those around them first (`models.motion.interpolate`). Of frames
        whose numbers are not ``wanted`` (default: all are) nothing is returned: they are context,
        and all but the next FILTER_REACH cost no network.
        """
        frames = filled(frames, missing, first_index) if missing else frames
        curves: list[Curve] = []
        levelled = _levelled(frames, curves) if deflicker else frames
        places = None if wanted is None else range(
            max(wanted.start - first_index - FILTER_REACH, 0),
            wanted.stop - first_index + FILTER_REACH,
        )  # fmt: skip
        found: deque[_Found] = deque()
        network = self._network(levelled, places, seed * 1_000_003 + first_index, found)
        filtered = TemporalFilter().run(network)
        if self.steps > 1:  # samples differ from frame to frame: a mean would blur them
            filtered = (image for image, *_ in network)
        for image in filtered:
            one = found.popleft()
            if wanted is None or one.index + first_index in wanted:
                yield one.restrained(image, curves[one.index] if deflicker else Curve())

    def _network(
        self, frames: Iterable[Image], places: range | None, seed: int, found: deque[_Found]
    ) -> Iterator[tuple[Image, float, float]]:
        """The network's picture of every frame in ``places``, how far it may be filtered and how
        far the frame was noisy; the rest goes to ``found``.
        """
        ladder: Ladder | None = None
        aligned = windows(frames, self._flow, places)
        for i, (window, trust) in enumerate(aligned, places.start if places else 0):
            ladder = ladder or Ladder(self.net, *window.shape[-2:])
            pictures = self._pictures(ladder, window, trust, seed + i)
            found.append(_Found(i, window[0].clone(), pictures, ladder.rung))
            image = np.ascontiguousarray(pictures.image.permute(1, 2, 0).numpy())
            yield image, impaired(pictures.noise, pictures.error), loudness(pictures.noise)

    def defects(self, frames: Sequence[Image]) -> NDArray[np.bool_]:
        """Where the middle one of a few frames (H, W, 3) of one shot has a scratch, dust or a
        blotch, (H, W).
        """
        window, trust = next(islice(windows(frames, self._flow), len(frames) // 2, None))
        found = self._pictures(Ladder(self.net, *window.shape[-2:]), window, trust, seed=0)
        mask: NDArray[np.bool_] = (found.defect_logits > 0).numpy()
        return mask

    def _pictures(
        self, ladder: Ladder, window: Tensor, trust: Tensor, seed: int
    ) -> tiling.Pictures:
        def attempt(net: RestorationNet, side: int) -> tiling.Pictures:
            return tiling.restored(net, window, trust, steps=self.steps, seed=seed, side=side)

        return ladder.frame(attempt)


def _levelled(frames: Iterable[Image], curves: list[Curve]) -> Iterator[Image]:
    for image, curve in ExposureChain().run(frames):
        curves.append(curve)
        yield image
