"""Pixels of the outermost two lines of each side that change by more than 8 code values.

Run: python docs/experiments/scripts/edges.py FOLDER [FRAMES]

FOLDER has the seven films of the benchmark. FRAMES frames of each (4 unless given) are restored by
`base` from the frames around them, without a correction of the exposure.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.fidelity.change_bound import bound_changes
from models.fidelity.evidence import apply_decisions, find_suspects
from models.frame_state import FrameState, number_frames
from models.motion.temporal_filter import TemporalFilter
from models.motion.windows import align_windows
from models.network.sizes import SIZES
from models.network.stage import NetworkStage
from models.restorer import Restorer, limit_threads
from pipeline.media.rgb import read_rgb

FIRST = {  # the first frame of each film
    "deepremaster_abomb_blast_effects": 100,
    "mdn_friday_1940": 60,
    "moviepy_chaplin": 20,
    "nasa_launch2": 20,
    "rrtn_a_trip_down_market_street_before_the_fire": 20,
    "rrtn_the_great_train_robbery": 15,
    "torchcodec_nasa_13013": 100,
}
AROUND, LINES, LEAST = 4, 2, 8.0  # frames each side; lines of each side; code values


def restored(film: Path, first: int, count: int, restorer: Restorer) -> Iterator[FrameState]:
    """The frames with their defects, as `Restorer.run` makes them."""
    start = first - AROUND
    read = (frame for at, frame in enumerate(read_rgb(film)) if at >= start)
    images = (np.divide(frame, 255, dtype=np.float32) for frame, _ in zip(read, range(count + 8)))
    frames = align_windows(
        number_frames(images, start), SIZES["base"].flow, range(first - 2, first + count + 2)
    )
    frames = TemporalFilter().run(find_suspects(NetworkStage(restorer.net, 1).run(frames)))
    frames = apply_decisions(bound_changes(frames))
    return (frame for frame in frames if first <= frame.index < first + count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("frames", type=int, nargs="?", default=4)
    given = parser.parse_args()
    limit_threads(1)
    restorer = Restorer("base")
    print("| film | outside of defects | in defects | pixels |\n|---|--:|--:|--:|")
    for film in sorted(given.folder.glob("*.mp4")):
        outside = inside = pixels = 0
        for frame in restored(film, FIRST[film.stem], given.frames, restorer):
            change = 255 * np.abs(frame.image - frame.source).mean(axis=2)
            outer = np.ones(change.shape, bool)
            outer[LINES:-LINES, LINES:-LINES] = False
            found = frame.defects.numpy() >= 0.05
            outside += int((outer & ~found & (change > LEAST)).sum())
            inside += int((outer & found & (change > LEAST)).sum())
            pixels += int(outer.sum())
        print(f"| {film.stem} | {outside} | {inside} | {pixels} |", flush=True)


if __name__ == "__main__":
    main()
