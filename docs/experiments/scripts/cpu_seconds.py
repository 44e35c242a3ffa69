"""CPU-seconds a frame of the whole restorer, on one thread, for each size.

Run: python docs/experiments/scripts/cpu_seconds.py CLIP [STREAMS]

24 frames of the clip are aged with film damage and restored STREAMS times (4 unless given), with
all of the grain (recipe `film`) and without it (`clean`), in turn. It prints the least and the
most of the streams. Loading the weights is not counted. Run it on
a quiet machine: other work raises the most, and often the least.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from jobs.evaluate.samples import Options, make_sample
from models.network.precision import on_cpu
from models.restorer import Restorer, limit_threads


def seconds_a_frame(restorer: Restorer, frames: list[np.ndarray], grain: float) -> float:
    """CPU-seconds of this process for one stream of the frames, exposure corrected."""
    started = time.process_time()
    for _ in restorer.stream(frames, deflicker=True, grain=grain):
        pass
    return (time.process_time() - started) / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("streams", type=int, nargs="?", default=4)
    given = parser.parse_args()
    clip, streams = given.clip, given.streams
    limit_threads(1)
    aged = make_sample(clip, "film", Options(frames=24)).aged.frames
    frames = [np.divide(frame, 255, dtype=np.float32) for frame in aged]
    height, width = frames[0].shape[:2]
    precision = "bfloat16" if on_cpu() else "single precision"
    print(f"{clip.name}, {len(frames)} frames of {width}x{height}, {precision}, {streams} streams")
    print("| size | recipe | least, CPU-s a frame | most |\n|---|---|--:|--:|")
    for size in ("fast", "base", "large"):
        restorer = Restorer(size)
        found: dict[str, list[float]] = {"film": [], "clean": []}
        for _ in range(streams):
            for recipe, seconds in found.items():
                seconds.append(seconds_a_frame(restorer, frames, grain=float(recipe == "film")))
        for recipe, seconds in found.items():
            print(
                f"| `{size}` | `{recipe}` | {min(seconds):.3f} | {max(seconds):.3f} |", flush=True
            )


if __name__ == "__main__":
    main()
