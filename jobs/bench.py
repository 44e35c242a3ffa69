"""`make bench`: the pipeline against the bare model loop, CPU cost per frame, memory against clip
length.

Ratios within one run: the machine is shared and noisy. Media are drawn here, so any machine can run
it.
"""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 352, 288
CLIPS, FRAMES = 8, 48
SHORT, LONG = 300, 3000  # frames of the memory comparison, at a quarter of the size


def drawn(frames: int, width: int, height: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """A noisy texture in motion, (H, W, 3) uint8; one second of it, forwards and backwards."""
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
    """H.264 clips and their manifest."""
    from pipeline.media import write_rgb

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
    """Seconds that one single-threaded process takes for the model alone over drawn frames."""
    from models.restorer import Restorer, limit_threads

    seed, frames = job
    limit_threads(1)
    restorer = Restorer("fast")
    images = [np.divide(f, 255, dtype=np.float32) for f in drawn(frames, WIDTH, HEIGHT, seed)]
    list(restorer.stream(images[:6], deflicker=False))
    started = time.perf_counter()
    for _ in restorer.stream(images, deflicker=False):
        pass
    return time.perf_counter() - started


def bare_fps(workers: int, frames: int) -> float:
    """Frames a second of ``workers`` bare model loops side by side, the pipeline's own number of
    actors.
    """
    with get_context("spawn").Pool(workers) as pool:
        seconds = pool.map(bare_loop, [(k, frames) for k in range(workers)])
    return workers * frames / max(seconds)


def pipeline_fps(folder: Path) -> tuple[float, float]:
    """Frames a second from the first shard's start to the last clip's end, and CPU-seconds a frame
    of it all.
    """
    from pipeline import flow
    from pipeline.events import Event
    from schemas.recipe import Recipe

    manifest = write_clips(folder, CLIPS, FRAMES, WIDTH, HEIGHT)
    marks: list[tuple[float, str]] = []

    def note(event: Event) -> None:
        marks.append((time.perf_counter(), event.kind))

    before = cpu_seconds()
    flow.run(str(manifest), str(folder / "out"), Recipe(shard_frames=FRAMES), progress=note)
    cpu = (cpu_seconds() - before) / (CLIPS * FRAMES)
    shards = [at for at, kind in marks if kind == "shard"]
    ends = [at for at, kind in marks if kind == "clip"]
    # the first shard's own time is not counted: models load and workers start in it
    return (CLIPS - 1) * FRAMES / (ends[-1] - shards[0]), cpu


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
    )


def memory(frames: int) -> float:
    """Peak resident MiB of a process that surveys and restores one clip, its decoders included in
    turn.
    """
    code = (
        "import resource, sys; from pathlib import Path; from jobs.bench import restore_one;"
        "restore_one(Path(sys.argv[1]), int(sys.argv[2]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.run(
            [sys.executable, "-c", code, folder, str(frames)],
            check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    return float(found.stdout.split()[-1])


def restore_one(folder: Path, frames: int) -> None:
    """Every shard of one small clip, one after the other, as an actor would."""
    from pipeline.restore import ShardRestorer
    from pipeline.shards import plan_shards
    from pipeline.survey import survey_clip
    from schemas.recipe import Recipe

    write_clips(folder, 1, frames, WIDTH // 4, HEIGHT // 4)
    recipe, source = Recipe(), folder / "clip0.mkv"
    survey = survey_clip({"clip_id": "clip0", "source_uri": str(source)}, recipe, folder)
    restorer = ShardRestorer(recipe, threads=1)
    for shard in plan_shards(survey.shots, recipe.shard_frames):
        restorer.restore(source, survey, shard, folder / "segment.mkv")


def main() -> None:
    """Print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    workers = os.cpu_count() or 1
    bare_fps(workers, FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        _fps, _cpu = pipeline_fps(Path(folder))
    bare_fps(workers, FRAMES)
    _short, _long = memory(SHORT), memory(LONG)


if __name__ == "__main__":
    main()
