"""Restores a stream of frames of one shot, stage by stage.

Memory is a window of frames, however long the shot is. Every frame depends only on CONTEXT frames
each side of it, so a shot cut into shards gives the picture of the whole shot.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.fidelity.change_bound import bound_changes
from models.fidelity.decision import SHIPPED, Limits
from models.fidelity.evidence import (
    EVIDENCE_REACH,
    Accepted,
    apply_decisions,
    find_suspects,
)
from models.fidelity.grain import find_grain, keep_grain
from models.fidelity.places import places_of
from models.fidelity.scratches import erase_scratches
from models.frame_state import (
    Curve,
    FrameState,
    Image,
    Repair,
    Rung,
    Scratch,
    Suspects,
    number_frames,
)
from models.graphs import graphed
from models.motion.alignment import SPAN
from models.motion.deflicker import DEFLICKER_CONTEXT, Deflicker
from models.motion.engine import Engine
from models.motion.engines import engine_of, exposure_of, with_room
from models.motion.interpolate import interpolate
from models.motion.opencv import OPENCV
from models.motion.temporal_filter import FILTER_REACH, TemporalFilter
from models.motion.windows import align_windows
from models.network import checkpoint
from models.network.batch import batch_of, room_of
from models.network.memory import OutOfMemory
from models.network.sizes import SIZES
from models.network.stage import NetworkStage
from models.network.tiling import whole_frames
from models.network.unet import RestorationNet

NETWORK_REACH = max(FILTER_REACH, EVIDENCE_REACH)  # frames each side that the network restores too
CONTEXT = DEFLICKER_CONTEXT + SPAN + NETWORK_REACH  # frames each side that a shard depends on
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from <malloc.h>
KEPT = 1 << 30  # bytes


# Passes on the frames of a stage, given the stage's name.
Watch = Callable[[str, Iterator[FrameState]], Iterator[FrameState]]


def unwatched(stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
    """The frames themselves."""
    return frames


@dataclass(frozen=True)
class Restored:
    """One restored frame (H, W, 3) float32 in [0, 1], with the facts of its restoration.

    Of a frame that came as planes, the engine may give ``planes`` alone: then ``image`` is NOWHERE.
    """

    index: int  # number of the frame in its clip
    image: Image
    payload: object  # of the source frame
    source_share: float  # mean alpha: share of the source itself in each pixel
    defect_share: float  # share of the pixels with a scratch, dust or a blotch
    curve: Curve  # exposure correction that was applied
    rung: Rung  # where the network ran
    defects: NDArray[np.float32]  # how far each pixel counts as a defect, (H, W) in [0, 1]
    repairs: tuple[Repair, ...] = ()  # its regions, with what was decided about each
    planes: tuple[NDArray[Any], ...] | None = None  # of a frame that came as planes
    finite: bool = True  # whether the picture of these planes was numbers

    @classmethod
    def of(cls, frame: FrameState) -> Self:
        """The facts of a frame after the last stage."""
        assert frame.rung is not None  # the network stage set it
        return cls(
            frame.index, frame.image, frame.payload, frame.source_share, frame.defect_share,
            frame.curve, frame.rung, _repaired(frame), frame.scratches + frame.repairs,
            frame.planes, frame.finite,
        )  # fmt: skip


def _repaired(frame: FrameState) -> NDArray[np.float32]:
    """How far each pixel counts as a defect, (H, W) in [0, 1]; a suspect does not."""
    assert frame.defects is not None  # the network stage found them
    defects: NDArray[np.float32] = frame.defects.numpy()
    if frame.suspects is not None:
        defects = np.where(frame.suspects, 0, defects)
    return defects if frame.scratched is None else np.maximum(defects, frame.scratched)


def limit_threads(count: int) -> None:
    """Set the threads of PyTorch and OpenCV in this process: one per actor, one actor per core."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def limit_gpu(share: float) -> None:
    """Limit the memory that PyTorch takes in this process to a share of each GPU, in (0, 1]."""
    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(share, device)


@cache
def keep_freed_memory() -> None:
    """Have this process keep the memory that a frame frees for the next one.

    Otherwise glibc returns large buffers to the kernel and faults them in again page by page. This
    takes a tenth of the time of a frame (mallopt(3); docs/experiments/2026-11-28-freed-memory.md).
    A buffer above 32 MiB is kept only if none has a mapping of its own: the window of a frame of
    1920x1080 has 119 MiB. Does nothing under another C library.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT)


class Restorer:
    """The model as the pipeline uses it: weights of one size on one device."""

    def __init__(
        self,
        size: str = "base",
        steps: int = 1,
        device: str | None = None,
        weights: Path | None = None,
        tensors: bool | None = None,
        batch: int | None = None,
    ) -> None:
        """``tensors`` says that motion is followed by tensors, not by OpenCV; by default it is on a
        GPU. ``batch`` is of windows that the network takes at once, a power of two; by default one
        on a CPU, and as many as `batch_of` finds on a GPU.
        """
        keep_freed_memory()
        path = weights or checkpoint.shipped(size)
        self.device = torch.device(device) if device else checkpoint.device_default()
        net = checkpoint.load(path, None if weights else checkpoint.pinned(size))
        self.net: RestorationNet = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.flow = SIZES[self.net.size].flow
        self.steps = steps
        self.engine = engine_of(self.device, tensors)
        gpu = self.device.type == "cuda"
        whole = graphed(partial(whole_frames, self.net), self.device)
        self._whole, self._batch = whole if gpu or batch else None, batch
        self.sha256 = checkpoint.sha256(path)

    def batch(self, height: int, width: int) -> int:
        """Windows of frames of this size that the network takes at once."""
        if self._batch is not None or self.device.type != "cuda":
            return self._batch or 1
        return batch_of(height, width, room_of(self.device))

    def stream(
        self,
        images: Iterable[Image],
        *,
        deflicker: bool,
        seed: int = 0,
        first_index: int = 0,
        missing: Container[int] = (),
        wanted: range | None = None,
        suspects: Suspects = "leave",
        grain: float = 0.0,
        scratches: Sequence[Scratch] = (),
    ) -> Iterator[Restored]:
        """Restore the frames (H, W, 3) float32 RGB of one shot, in order.

        ``first_index`` is the first frame's number in its clip.
        """
        frames = number_frames(images, first_index)
        yield from self.run(
            frames,
            deflicker=deflicker,
            seed=seed,
            missing=missing,
            wanted=wanted,
            suspects=suspects,
            grain=grain,
            scratches=scratches,
        )

    def run(
        self,
        frames: Iterator[FrameState],
        *,
        deflicker: bool,
        seed: int = 0,
        missing: Container[int] = (),
        wanted: range | None = None,
        suspects: Suspects = "leave",
        grain: float = 0.0,
        side: int = 0,
        watch: Watch = unwatched,
        accepted: Accepted | None = None,
        scratches: Sequence[Scratch] = (),
        limits: Limits = SHIPPED,
    ) -> Iterator[Restored]:
        """Restore numbered frames of one shot, in order. Each keeps its payload.

        ``seed`` and a frame's number fix the sampling noise, so a shard gets the noise that the
        whole clip would get. Frames whose numbers are ``missing`` are interpolated first. Only
        frames whose numbers are ``wanted`` are returned (default: all). The others are context; the
        network runs on those up to NETWORK_REACH away. ``suspects`` says what happens to a region
        that may be a real thing: it keeps the pixels of the source, or it is repaired as well; its
        record has the same reason. ``grain`` is the share of the source's grain that stays, in
        [0, 1]: with 1, only repairs and the exposure differ from the source. ``side`` is that of
        the first tiles to try; 0 is whole frames. ``watch`` may pass on the frames of every stage,
        to measure it. ``accepted`` are suspects that are repaired all the same, by frame.
        ``scratches`` stand still, and are taken out before the network sees a frame. ``limits``
        are those of the evidence.
        """
        first = next(frames, None)
        if first is None:
            return
        frames = itertools.chain([first], frames)
        engine = with_room(self.engine, *first.source.shape[:2])
        batch = self.batch(*first.source.shape[:2]) if engine is self.engine else 1
        frames = _raised(frames, engine, missing, deflicker, scratches, watch)
        network_frames = _with_network_context(wanted)
        frames = watch("alignment", align_windows(frames, self.flow, network_frames, engine))
        find_places = None
        if grain == 1 and suspects == "leave":  # only then is all but repairs the source's
            find_places = partial(places_of, accepted=accepted or {}, limits=limits)
        network = NetworkStage(self.net, self.steps, seed, side, find_places, self._whole, batch)
        frames = watch("network", network.run(frames))
        frames = watch("evidence", find_suspects(frames, suspects, accepted, limits))
        if grain:
            frames = watch("grain", find_grain(frames))
        # With all of the grain nothing is averaged. Samples of more steps differ between frames.
        if grain < 1 and self.steps == 1:
            frames = watch("temporal filter", TemporalFilter(engine).run(frames))
        frames = (frame for frame in frames if wanted is None or frame.index in wanted)
        frames = watch("change bound", apply_decisions(bound_changes(frames)))
        if grain:
            frames = watch("kept grain", keep_grain(frames, grain))
        frames = watch("planes", engine.lowered(frames))
        try:
            yield from map(Restored.of, frames)
        except torch.OutOfMemoryError as error:  # beside the network, which has a ladder
            raise OutOfMemory("the GPU has no room for the frames around a frame") from error

    def defects(self, images: Sequence[Image]) -> NDArray[np.bool_]:
        """Where the middle one of a few frames (H, W, 3) of one shot has a scratch, dust or a
        blotch, (H, W).
        """
        numbered = number_frames(images, first=-(len(images) // 2))  # the middle one is number 0
        frames = self.engine.raised(numbered)
        network = NetworkStage(self.net, self.steps)
        window = next(align_windows(frames, self.flow, (0,), self.engine)).window
        assert window is not None
        found = network.restore(network.ladder(window), window, seed=0)
        mask: NDArray[np.bool_] = (found.defect_logits > 0).cpu().numpy()
        return mask


def _raised(
    frames: Iterator[FrameState],
    engine: Engine,
    missing: Container[int],
    deflicker: bool,
    scratches: Sequence[Scratch],
    watch: Watch,
) -> Iterator[FrameState]:
    """The frames as the network is to see them, with their pictures where the engine works."""
    early = OPENCV if missing or scratches else engine  # these two are done on the CPU
    frames = watch("colour", early.raised(frames))
    if missing:
        frames = watch("missing", interpolate(frames, missing))
    if deflicker:
        frames = watch("deflicker", Deflicker(exposure_of(early)).run(frames))
    if scratches:
        frames = watch("scratches", erase_scratches(frames, scratches))
    return frames if early is engine else watch("to the device", engine.raised(frames))


def _with_network_context(wanted: range | None) -> range | None:
    """The frames that the network restores for those ``wanted``; None is all."""
    if wanted is None:
        return None
    return range(wanted.start - NETWORK_REACH, wanted.stop + NETWORK_REACH)
