"""What a device is, and how long it takes for the network and for what follows motion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from models.fidelity.damage_level import Nearest
from models.frame_state import FrameState
from models.graphs import AS_THEY_ARE, give_back, graphed
from models.motion.alignment import LUMA_SIGMA, OFFSETS
from models.motion.engine import Engine
from models.network.precision import half
from models.network.tiling import restore_whole, whole_frames
from models.network.unet import RestorationNet


@dataclass(frozen=True)
class Device:
    """Facts of a device, for a report."""

    name: str
    kind: str  # "cuda" or "cpu"
    memory_gib: float | None  # of a GPU
    pytorch: str  # its version
    threads: int  # of PyTorch on the CPU
    bfloat16: bool  # whether convolutions run in it

    @classmethod
    def of(cls, device: torch.device) -> Device:
        gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
        return cls(
            gpu.name if gpu else "CPU",
            device.type,
            round(gpu.total_memory / 2**30, 1) if gpu else None,
            torch.__version__,
            torch.get_num_threads(),
            half(device)._enabled,
        )


def settled(device: torch.device) -> float:
    """The time in seconds once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_mib(device: torch.device) -> float | None:
    """Most memory of a GPU that tensors held since the last call, in MiB; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device) / 2**20
    torch.cuda.reset_peak_memory_stats(device)
    return round(peak, 1)


def uuid_of(device: torch.device) -> str | None:
    """The UUID by which the driver knows a GPU; None for a CPU."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def asked() -> float:
    """The time in seconds, whatever the device still does."""
    return time.perf_counter()


class StepTimer:
    """The time of the last run of a block on a device, which is not waited for before it is read.

    Without a GPU the time is the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        gpu = device.type == "cuda"
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if gpu else []  # type: ignore[no-untyped-call]
        self._seconds = 0.0

    def __enter__(self) -> None:
        if self._events:
            self._events[0].record()
        self._seconds = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        if self._events:
            self._events[1].record()
        self._seconds = time.perf_counter() - self._seconds

    def milliseconds(self) -> float:
        """How long the block took. This waits for the device."""
        if not self._events:
            return 1000 * self._seconds
        self._events[1].synchronize()
        return float(self._events[0].elapsed_time(self._events[1]))


class StageClock:
    """Milliseconds of each stage, one after the other: the device is waited for at every frame.

    Of a stage's time, `host` is until the CPU had asked the device for all of it. On a CPU that is
    all.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._host: dict[str, float] = {}
        self._frames: dict[str, int] = {}
        self._inner: list[float] = []  # seconds of the stages before, for every stage at work

    def watch(self, stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
        """The frames of a stage, with its own time added up."""
        while True:
            started = settled(self._device)
            self._inner.append(0.0)
            frame = next(frames, None)
            host = asked() - started
            taken = settled(self._device) - started
            inner = self._inner.pop()
            self._seconds[stage] = self._seconds.get(stage, 0.0) + taken - inner
            self._host[stage] = self._host.get(stage, 0.0) + host - inner
            if self._inner:
                self._inner[-1] += taken
            if frame is None:
                return
            self._frames[stage] = self._frames.get(stage, 0) + 1
            yield frame

    def milliseconds(self) -> dict[str, float]:
        """For each stage, of one frame, in the order of the stages."""
        return self._of_a_frame(self._seconds)

    def host_milliseconds(self) -> dict[str, float]:
        """The same, until the CPU had asked for it."""
        return self._of_a_frame(self._host)

    def _of_a_frame(self, seconds: dict[str, float]) -> dict[str, float]:
        return {
            stage: round(1000 * taken / max(self._frames.get(stage, 0), 1), 2)
            for stage, taken in seconds.items()
        }


def network_seconds(
    net: RestorationNet, height: int, width: int, count: int, batch: int = 1
) -> float:
    """Seconds of the bare network for one frame in batches, the mean of ``count`` after the first.

    With its damage levels; on a GPU as a graph, as it restores whole frames.
    """
    device = next(net.parameters()).device
    random = torch.Generator(device).manual_seed(0)
    shape = batch, 1 + len(OFFSETS), 3, height, width
    windows = torch.rand(shape, device=device, generator=random)
    trust = torch.ones(batch, len(OFFSETS), height, width, device=device)
    whole = graphed(partial(whole_frames, net), device)

    def once() -> None:
        restore_whole(whole, windows, trust, net.levels(Nearest.of(windows, trust)))

    for _ in range(AS_THEY_ARE if device.type == "cuda" else 0):
        once()
    try:
        return _mean_seconds(once, device, count) / batch
    finally:
        give_back(whole)


def in_batches(batch: int) -> str:
    """The name of the bare network in batches of a size."""
    return f"bare network, batch of {batch}"


def network_milliseconds(
    net: RestorationNet, height: int, width: int, count: int, batches: Iterable[int]
) -> dict[str, float]:
    """Milliseconds of the bare network for one frame, by the windows that it takes at once."""
    return {
        in_batches(batch): round(
            1000 * network_seconds(net, height, width, max(count // batch, 1), batch), 2
        )
        for batch in batches
    }


def motion_milliseconds(
    engine: Engine, preset: str, height: int, width: int, device: torch.device, count: int
) -> dict[str, float]:
    """Milliseconds of each operation of an engine on a picture of a size; see `Engine`."""
    random = torch.Generator().manual_seed(0)
    rough = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=random)
    large = torch.nn.functional.interpolate(rough, (height, width + 2), mode="bicubic")[0]
    arrays = [large[..., at : at + width].permute(1, 2, 0).contiguous().numpy() for at in (0, 2)]
    here, there = (engine.picture(array) for array in arrays)
    lumas = engine.luma(here, LUMA_SIGMA), engine.luma(there, LUMA_SIGMA)
    search = engine.search(preset)
    flow = search(*lumas)
    _, trust = engine.matched(*lumas, flow)
    moved = engine.warp(there, flow, cubic=True)
    operations: dict[str, Callable[[], object]] = {
        "luma": lambda: engine.luma(here, LUMA_SIGMA),
        f"flow, {preset}": lambda: search(*lumas),
        "flow, ultrafast": lambda: engine.search("ultrafast")(*lumas),
        "warp, cubic": lambda: engine.warp(there, flow, cubic=True),
        "matched": lambda: engine.matched(*lumas, flow),
        "keep_edges": lambda: engine.keep_edges(here, moved, there),
        "weighted_mean": lambda: engine.weighted_mean(here, [(moved, trust)]),
        "agreement": lambda: engine.agreement(here, moved),
    }
    return {
        name: round(1000 * _mean_seconds(operation, device, count), 2)
        for name, operation in operations.items()
    }


def _mean_seconds(operation: Callable[[], object], device: torch.device, count: int) -> float:
    operation()
    started = settled(device)
    for _ in range(count):
        operation()
    return (settled(device) - started) / count
