"""`make bench`: pipeline against bare model, CPU time per frame, memory against clip length.

At the end it prints what a small clip costs, beside what it cost before.

Only ratios within one run are comparable. The clips are drawn here, so any machine can run it.
"""

from __future__ import annotations

import contextlib
import csv
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import typer
from numpy.typing import NDArray

from jobs.evaluate.measure_cost import costs
from pipeline.local import LocalExecutor
from pipeline.media.launcher import ENDED
from pipeline.runs.run import Run
from pipeline.sources.manifest import read_manifest
from schemas.recipe import Recipe

WIDTH, HEIGHT = 352, 288
CLIPS, FRAMES = 8, 96
SMALL_CLIPS = 20  # `make bench-small` takes more, and its option --store counts requests
SHORT, LONG = 300, 3000  # frames of the memory comparison, at half the width and height


def drawn(frames: int, width: int, height: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield frames of a moving noisy texture, (H, W, 3) uint8; it moves forwards and backwards."""
    import cv2

    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.random((height, width + 64, 3)).astype(np.float32), (0, 0), 4)
    wide = 40 + 170 * (wide - wide.min()) / np.ptp(wide)
    noise = [rng.normal(0, 8, (height, width, 3)).astype(np.float32) for _ in range(5)]
    for i in range(frames):
        shift = abs(i % 64 - 32)
        picture = wide[:, shift : shift + width] + noise[i % 5]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def write_clips(folder: Path, count: int, frames: int, width: int, height: int) -> Path:
    """Write H.264 clips and their manifest; return the path of the manifest."""
    from pipeline.media.rgb import write_rgb

    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("clip_id", "source_uri"))
        for k in range(count):
            path = folder / f"clip{k}.mkv"
            write_rgb(path, drawn(frames, width, height, k), Fraction(25), pix_fmt="yuv420p")
            writer.writerow((f"clip{k}", path))
    return manifest


def bare_loop(job: tuple[int, int]) -> float:
    """Return the seconds of the model alone over drawn frames, in one single-threaded process."""
    from models.restorer import Restorer, limit_threads

    seed, frames = job
    limit_threads(1)
    restorer = Restorer(Recipe().model)
    images = [np.divide(f, 255, dtype=np.float32) for f in drawn(frames, WIDTH, HEIGHT, seed)]
    grain = Recipe().grain
    list(restorer.stream(images[:6], deflicker=False, grain=grain))
    started = time.perf_counter()
    for _ in restorer.stream(images, deflicker=False, grain=grain):
        pass
    return time.perf_counter() - started


def bare_fps(workers: int, frames: int) -> float:
    """Return the frames per second of ``workers`` bare model loops at the same time.

    The pipeline has as many actors.
    """
    with get_context("spawn").Pool(workers) as pool:
        seconds = pool.map(bare_loop, [(k, frames) for k in range(workers)])
    return workers * frames / max(seconds)


@dataclass(frozen=True)
class Speed:
    """The speed of one run of the pipeline over drawn clips."""

    whole: float  # frames per second from call to return, with the start of Ray
    steady: float  # frames per second after every actor has finished its first clip
    cpu: float  # CPU-seconds per frame, over all processes of the run
    assembly: float  # seconds of assembly, with all measures, to each second of the model


def pipeline_speed(folder: Path, workers: int) -> Speed:
    """Run the pipeline over CLIPS clips of one shard each."""
    from pipeline import flow
    from pipeline.runs.events import Event

    manifest = write_clips(folder, CLIPS, FRAMES, WIDTH, HEIGHT)
    ends, spent = list[float](), {"assemble": 0.0, "model": 0.0}

    def note(event: Event) -> None:
        if event.kind == "clip":
            ends.append(time.perf_counter())
            for stage in spent:
                spent[stage] += event.measures.get(f"seconds_{stage}", 0.0)

    started = time.perf_counter()
    with cpu_meter() as cpu:
        flow.run(
            str(manifest),
            str(folder / "out"),
            Recipe(shard_frames=FRAMES, clean="restore"),
            progress=note,
        )
    return Speed(
        whole=CLIPS * FRAMES / (time.perf_counter() - started),
        steady=(CLIPS - workers) * FRAMES / (ends[-1] - ends[workers - 1]),
        cpu=sum(cpu.values()) / (CLIPS * FRAMES),
        assembly=spent["assemble"] / spent["model"],
    )


@contextmanager
def cpu_meter() -> Iterator[dict[int, float]]:
    """Yield CPU-seconds by process id of all child processes, also those of Ray.

    They are read twice per second: nobody reports the time of Ray's workers after they end.
    """
    seconds: dict[int, float] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = child.cpu_times()
                    ended = times.children_user + times.children_system
                    seconds[child.pid] = times.user + times.system + ended

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seconds
    finally:
        done.set()
        watcher.join()


def memory(frames: int) -> float:
    """Return the peak memory in MiB of one process with all stages, plus its largest decoder."""
    code = (
        "import sys; from pathlib import Path; from jobs.evaluate import bench;"
        "bench.all_stages(Path(sys.argv[1]), int(sys.argv[2])); bench.report_peak()"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.run(
            [sys.executable, "-c", code, folder, str(frames)],
            check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    return float(found.stdout.split()[-1])


def report_peak() -> None:
    """Print the sum of the peak memory of this process and of its largest child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    typer.echo((own + ENDED.peak_kib) / 1024)


def all_stages(folder: Path, frames: int) -> None:
    """Run one clip through survey, restoration and assembly, without Ray."""
    manifest = write_clips(folder, 1, frames, WIDTH // 2, HEIGHT // 2)
    (clip,) = read_manifest(str(manifest))
    work = Run.open(
        str(manifest), [clip], str(folder / "out"), Recipe(clean="restore"), lambda event: None
    )
    LocalExecutor().result(work, clip)


def main() -> None:
    """Run all measurements and print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    workers = os.cpu_count() or 1
    typer.echo(f"# archive-restore {version('archive-restore')}, {workers} CPUs, {machine()}")
    before = bare_fps(workers, FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        speed = pipeline_speed(Path(folder), workers)
    bare = (before + bare_fps(workers, FRAMES)) / 2
    measures = [
        (f"measures / model, CPU-seconds, {name}", f"{one.ratio:.3f}", "0.10 or less")
        for name, one in costs((), Recipe().model, FRAMES // 4)
    ]
    short, long = memory(SHORT), memory(LONG)
    table = [
        (f"bare model, {workers} processes, {WIDTH}x{HEIGHT}", f"{bare:.2f} frames/s", ""),
        (f"pipeline, steady ({CLIPS} clips of {FRAMES})", f"{speed.steady:.2f} frames/s", ""),
        ("pipeline / bare model, steady", f"{speed.steady / bare:.2f}", "0.85 or more"),
        ("pipeline / bare model, with Ray's start and end", f"{speed.whole / bare:.2f}", ""),
        *measures,
        ("assembly with all measures / model, seconds", f"{speed.assembly:.2f}", "less than 1"),
        ("pipeline, CPU-seconds a frame", f"{speed.cpu:.3f}", ""),
        (f"peak memory, {SHORT} frames", f"{short:.0f} MiB", ""),
        (f"peak memory, {LONG} frames", f"{long:.0f} MiB", ""),
        (f"peak memory, {LONG} / {SHORT} frames", f"{long / short:.2f}", "1.10 or less"),
    ]
    typer.echo("| Measure | Value | Aim |\n|---|---:|---|")
    for row in table:
        typer.echo("| " + " | ".join(row) + " |")
    small = [sys.executable, "-m", "jobs.evaluate.small_clips", "--clips", str(SMALL_CLIPS)]
    subprocess.run(small, check=True)


def machine() -> str:
    """Return the load of the machine at the start, and the date."""
    return f"load {os.getloadavg()[0]:.1f} at the start, {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    main()
