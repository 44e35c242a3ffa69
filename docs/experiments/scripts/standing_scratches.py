"""Scratches that stand still: what is found in films as they are, and with a scratch drawn in.

`python docs/experiments/scripts/standing_scratches.py FILM...` prints every scratch that is found
in the films. With `--draw` before the films it draws scratches into their first 64 frames, and
prints how many of them are found, by their depth in code values.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from models.damage.defects import scratch
from models.frame_state import Scratch
from pipeline.detect.cuts import ShotDetector
from pipeline.detect.standing_scratches import StandingScratchMeter
from pipeline.media.rgb import read_rgb

DEPTHS = -40, -16, -8, 12, 24, 50  # code values
FRAMES = 64  # of a film into which a scratch is drawn


def found(frames: Iterable[np.ndarray]) -> Iterator[Scratch]:
    """The scratches of frames (H, W, 3) uint8."""
    cuts, meter = ShotDetector(), StandingScratchMeter()
    for frame in frames:
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        cuts.add(luma)
        meter.add(luma)
    for shot in cuts.finish():
        yield from meter.scratches(shot.start, shot.stop)


def drawn(frames: np.ndarray, depth: int, multiply: bool) -> tuple[np.ndarray, int]:
    """The frames (T, H, W, 3) with a scratch, uint8, and its column."""
    clip, rng = frames.astype(np.float32), np.random.default_rng(5)
    scratch(clip, rng, depth, multiply, width_px=rng.uniform(1, 3), drift_px=0, jitter_px=0.2)
    column = int(np.abs(clip - frames).mean((0, 1, 3)).argmax())
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8), column


def main() -> None:
    """Look at the films that the command line names."""
    draw = "--draw" in sys.argv
    films = [Path(name) for name in sys.argv[1 + draw :]]
    if not draw:
        for film in films:
            for one in found(read_rgb(film)):
                print(film.stem, one, flush=True)
        return
    hits = Counter[tuple[int, bool]]()
    for film in films:
        start = np.stack(list(read_rgb(film, 0, FRAMES)))
        for depth, multiply in itertools.product(DEPTHS, (False, True)):
            clip, column = drawn(start, depth, multiply)
            near = any(abs(one.x - column) <= one.width for one in found(clip))
            hits[depth, multiply] += near
    for depth in DEPTHS:
        print(depth, "added", hits[depth, False], "multiplied", hits[depth, True], "of", len(films))


if __name__ == "__main__":
    main()
