"""`make gpu-check`: is the picture of a device that of the CPU, and how fast is each part of it?

It needs PyTorch, NumPy, OpenCV, safetensors and PyAV only: a bare machine with a GPU has no more.
Without a GPU it measures the CPU on a few frames, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.gpu_table import table
from jobs.evaluate.nvml import Busy
from models.colour import PixelFormat
from models.frame_state import Decoded, FrameState, Image
from models.motion.kernel_check import KernelCheck, kernel_check
from models.network.timing import (
    Device,
    StageClock,
    in_batches,
    motion_milliseconds,
    network_milliseconds,
    peak_mib,
    settled,
    uuid_of,
)
from models.restorer import Restorer, unwatched
from pipeline.clip.frames import Planes, Probe
from pipeline.media.rgb import read_planes, write_rgb
from pipeline.media.segments import SegmentWriter
from pipeline.prefetch import ahead, beside_gpu

QUEUE_FRAMES = 8  # as in a run
FPS = Fraction(25)
SIZES = "fast", "base", "large"
# Mean differences in code values up to which pictures are alike: of two devices with one engine,
# and of two engines, whose flow leaves other noise.
ALIKE, ALIKE_ENGINES = 0.5, 2.0
APART = 2.0  # code values by which a pixel counts as different
PERIOD = 64  # frames after which the pan begins anew
SLICES, GRAIN = 16, 1.0  # as in a run


@dataclass(frozen=True)
class Check:
    """What is measured, and on how much."""

    sizes: tuple[str, ...] = SIZES
    pictures: tuple[tuple[int, int], ...] = ((1920, 1080), (720, 576))  # width, height
    frames: int = 1920  # that go through, at most
    seconds: float = 20.0  # in which frames of a clip go in
    staged: int = 24  # frames for the times of stages
    repeated: int = 20  # runs of one operation
    compared: tuple[int, int, int] = (320, 240, 7)  # width, height, frames, for the pictures
    batches: tuple[int, ...] = (1, 2, 4, 8)  # windows that the bare network takes at once


SMALL = Check(  # for a CPU
    frames=2, staged=2, repeated=1, compared=(160, 120, 6), batches=(1, 2)
)
TINY = Check(("fast",), ((96, 64),), 2, 20.0, 2, 1, (64, 48, 3), (1, 2))


@dataclass
class Rates:
    """What was measured of one size of the model on one size of picture."""

    size: str
    width: int
    height: int
    frames: int
    batch: int  # windows that the network took at once
    through: float  # frames a second through decode, restore and encode
    restore: float  # without decode and encode, from planes to planes
    network: float  # of the bare network
    decode: float  # alone
    encode: float  # alone
    of_slowest: float  # through, as a share of the slowest of decode, restore and encode alone
    core_seconds: float  # of the CPU, for a frame through
    busy: float | None  # share of the time in which the GPU worked, while frames went through
    joules: float | None  # of the GPU, for a frame through
    gpu_mib: float | None  # most that tensors held
    memory_mib: float  # most memory of the process so far
    stages_ms: dict[str, float] = field(default_factory=dict)  # one after the other
    host_ms: dict[str, float] = field(default_factory=dict)  # of these, until the CPU was free
    motion_ms: dict[str, float] = field(default_factory=dict)  # of one operation
    network_ms: dict[str, float] = field(default_factory=dict)  # of the bare network, by its batch


def drawn(count: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """A noisy texture that pans, with a speck in every fourth frame, (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.random((height, width + 64, 3)).astype(np.float32), (0, 0), 4)
    wide = 40 + 170 * (wide - wide.min()) / np.ptp(wide)
    noise = [rng.normal(0, 8, (height, width, 3)).astype(np.float32) for _ in range(5)]
    for k in range(count):
        shift = abs(2 * k % 128 - 64)
        picture = wide[:, shift : shift + width] + noise[k % 5]
        if k % 4 == 1:
            picture[height // 3 : height // 3 + 6, width // 2 : width // 2 + 6] = 250
        yield np.clip(picture, 0, 255).astype(np.uint8)


def compared(check: Check, device: str | None) -> dict[str, dict[str, float | bool]]:
    """How far pictures of the device, of tensors on a CPU and of OpenCV are apart, by size."""
    width, height, count = check.compared
    images = [np.divide(f, 255, dtype=np.float32) for f in drawn(count, width, height)]
    found: dict[str, dict[str, float | bool]] = {}
    for size in check.sizes:
        opencv, tensors = (
            _restored(Restorer(size, device="cpu", tensors=which), images)
            for which in (False, True)
        )
        found[f"{size}: tensors on the CPU, OpenCV"] = _apart(tensors, opencv, ALIKE_ENGINES)
        restorer = Restorer(size, device=device)
        if restorer.device.type != "cpu":
            there = _restored(restorer, images)
            found[f"{size}: device, tensors on the CPU"] = _apart(there, tensors, ALIKE)
            found[f"{size}: device, OpenCV"] = _apart(there, opencv, ALIKE_ENGINES)
    return found


def flow_kernel(check: Check, restorer: Restorer) -> KernelCheck:
    """Flow by kernels beside flow by plain PyTorch on the restorer's device."""
    one, other = (frame[..., 1].copy() for frame in drawn(2, *check.pictures[0]))
    return kernel_check(one, other, restorer.device, check.repeated)


def _restored(restorer: Restorer, images: list[Image]) -> NDArray[np.float32]:
    return np.stack([one.image for one in restorer.stream(images, deflicker=False)])


def _apart(
    one: NDArray[np.float32], other: NDArray[np.float32], most: float
) -> dict[str, float | bool]:
    """Difference of pictures in code values: mean, largest, share of values further than APART."""
    difference = 255 * np.abs(one - other)
    mean = float(difference.mean())
    return {
        "mean": round(mean, 4),
        "largest": round(float(difference.max()), 2),
        "share_apart": round(float((difference > APART).mean()), 6),
        "alike": mean <= most,
    }


@contextmanager
def clip_of(width: int, height: int, check: Check) -> Iterator[Path]:
    """A drawn FFV1 clip of 8 bits, 4:2:0, of PERIOD frames at most; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        write_rgb(path, drawn(min(check.frames, PERIOD), width, height), FPS, pix_fmt="yuv420p")
        yield path


def probe_of(width: int, height: int) -> Probe:
    """What the drawn clip declares."""
    return Probe(
        container="matroska", codec="ffv1", width=width, height=height, pix_fmt="yuv420p",
        source_pix_fmt="yuv420p", bit_depth=8, fps=FPS, time_base=1 / FPS, sar=Fraction(1),
        frames_declared=None, start_pts=0, duration_pts=None, duration_seconds=None,
        field_order="progressive", color_range=1, color_primaries=2, color_trc=2, colorspace=2,
        rotation=0, audio=(), subtitles=(), attachments=(), data=(), chapters=0, timecode=None,
    )  # fmt: skip


def rates(check: Check, path: Path, restorer: Restorer, probe: Probe, threads: int) -> Rates:
    """Measure one size of the model on one clip. ``threads`` are of the decoder and the encoder."""
    net, device, height, width = restorer.net, restorer.device, probe.height, probe.width
    list(_planes(islice(read_planes(path), 2), restorer, probe))  # the first frames cost more
    peak_mib(device)
    busy = Busy(uuid_of(device))
    busy.start()
    cpu, started = time.process_time(), settled(device)
    entering = ahead(_until(check, _again(path, threads)), QUEUE_FRAMES)
    leaving = ahead(_planes(entering, restorer, probe), QUEUE_FRAMES)
    count = encode(leaving, path, probe, threads)
    through = count / (settled(device) - started)
    core_seconds = (time.process_time() - cpu) / count
    (share, joules), peak = busy.stop(), peak_mib(device)
    held = list(islice(read_planes(path, threads), count))
    alone = {
        "decode": _rate(list(read_planes(path, threads)) for _ in range(1)),
        "restore": _rate(list(_planes(iter(held), restorer, probe)) for _ in range(1)),
        "encode": _rate([0] * encode(iter(held), path, probe, threads) for _ in range(1)),
    }
    clock = StageClock(device)
    list(_planes(iter(held[: check.staged]), restorer, probe, clock, deflicker=True))
    small = (width, height) == min(check.pictures)
    batches = check.batches if small or device.type != "cpu" else (1,)
    network = network_milliseconds(net, height, width, check.repeated, batches)
    return Rates(
        net.size, width, height, count, restorer.batch(height, width),
        through=round(through, 3),
        restore=round(alone["restore"], 3),
        network=round(1000 / network[in_batches(1)], 3),
        decode=round(alone["decode"], 2),
        encode=round(alone["encode"], 2),
        of_slowest=round(through / min(alone.values()), 3),
        core_seconds=round(core_seconds, 4),
        busy=share,
        joules=None if joules is None else round(joules / count, 3),
        gpu_mib=peak,
        memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        stages_ms=clock.milliseconds(),
        host_ms=clock.host_milliseconds(),
        motion_ms=motion_milliseconds(
            restorer.engine, restorer.flow, height, width, device, check.repeated
        ),
        network_ms=network,
    )  # fmt: skip


def _rate(made: Iterable[list[object]]) -> float:
    """Items a second of the lists that are made."""
    started = time.perf_counter()
    count = sum(len(items) for items in made)
    return count / (time.perf_counter() - started)


def _again(path: Path, threads: int) -> Iterator[Planes]:
    """The planes of a clip, over and over."""
    while True:
        yield from read_planes(path, threads)


def _until(check: Check, frames: Iterator[Planes]) -> Iterator[Planes]:
    """The first frames, until they are enough or the time is over."""
    end = time.perf_counter() + check.seconds
    for frame in islice(frames, check.frames):
        yield frame
        if time.perf_counter() > end:
            return


def _planes(
    frames: Iterator[Planes],
    restorer: Restorer,
    probe: Probe,
    clock: StageClock | None = None,
    deflicker: bool = False,
) -> Iterator[Planes]:
    """The planes restored, as in a run, with their grain kept."""
    pixels = PixelFormat.of(
        probe.pix_fmt, probe.bit_depth, probe.colorspace, probe.color_range, probe.height
    )
    states = (
        FrameState.of_planes(index, Decoded(planes, pixels)) for index, planes in enumerate(frames)
    )
    together = beside_gpu if restorer.device.type != "cpu" else unwatched
    watch = clock.watch if clock else together
    for restored in restorer.run(states, deflicker=deflicker, grain=GRAIN, watch=watch):
        assert restored.planes is not None  # it came as planes
        yield restored.planes


def encode(frames: Iterator[Planes], path: Path, probe: Probe, threads: int) -> int:
    """Write frames as FFV1 beside a clip; return how many."""
    with SegmentWriter(path.with_suffix(".out.mkv"), probe, SLICES, threads) as writer:
        for planes in frames:
            writer.write(planes)
    return len(writer.crcs)


def report(check: Check, device: str | None, threads: int) -> dict[str, Any]:
    """All that is measured, as JSON values."""
    first = Restorer(check.sizes[0], device=device)
    facts = Device.of(first.device)
    made: dict[str, Any] = {
        "device": asdict(facts),
        "cores": os.cpu_count(),
        "codec_threads": threads,
        "check": asdict(check),
        "pictures": compared(check, device),
        "flow_kernel": asdict(flow_kernel(check, first)),
    }
    rows = []
    for width, height in check.pictures:
        with clip_of(width, height, check) as path:
            for size in check.sizes:
                restorer = Restorer(size, device=device)
                rows.append(rates(check, path, restorer, probe_of(width, height), threads))
                done = f"{size} at {width}x{height}: {rows[-1].through} frames/s\n"
                sys.stderr.write(done)
    return made | {"rates": [asdict(row) for row in rows]}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write the JSON. Returns 1 if pictures or flows are not alike."""
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="the JSON")
    parser.add_argument("--device", help="a device of PyTorch; by default the GPU, if there is one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the codecs")
    parser.add_argument("--tiny", action="store_true", help="a few seconds, to see that it runs")
    given = parser.parse_args(arguments)
    small = Restorer(SIZES[0], device=given.device).device.type == "cpu"
    check = TINY if given.tiny else SMALL if small else Check()
    made = report(check, given.device, given.threads)
    given.out.write_text(json.dumps(made, indent=1) + "\n")
    sys.stdout.write(table(made) + "\n")
    alike = [found["alike"] for found in (*made["pictures"].values(), made["flow_kernel"])]
    return 1 if False in alike else 0  # None: not compared


if __name__ == "__main__":
    sys.exit(main())
