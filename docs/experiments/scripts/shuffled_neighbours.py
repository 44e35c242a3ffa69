"""What the frames around a frame are worth: PSNR with neighbours in order, and shuffled.

Run: python docs/experiments/scripts/shuffled_neighbours.py SIZE PRESET CLIP...

The ninth of 17 frames of at most 352 pixels is restored twice: with its neighbours in order, and
with the same frames in random order (seed 0). The ninth frame itself keeps its place.
"""

import argparse
from pathlib import Path

import numpy as np

from jobs.evaluate.evaluate import is_unsteady
from jobs.evaluate.samples import Options, make_sample
from jobs.evaluate.scores import psnr_of
from models.damage.presets import PRESETS
from models.restorer import Restorer, limit_threads
from schemas.recipe import MODELS

FRAMES, MIDDLE = 17, 8


def middle_psnr(restorer: Restorer, clip: np.ndarray, truth: np.ndarray, deflicker: bool) -> float:
    """PSNR of the middle frame of the restored clip, dB."""
    images = [np.divide(frame, 255, dtype=np.float32) for frame in clip]
    stream = restorer.stream(images, deflicker=deflicker, wanted=range(MIDDLE, MIDDLE + 1))
    restored = np.clip(np.rint(255 * next(stream).image), 0, 255).astype(np.uint8)
    return psnr_of(restored[None], truth[MIDDLE : MIDDLE + 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=MODELS)
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("clips", metavar="CLIP", type=Path, nargs="+")
    given = parser.parse_args()
    size, preset, clips = given.size, given.preset, given.clips
    limit_threads(1)
    restorer, rows = Restorer(size), []
    print(f"| {size}, {preset} | in order dB | shuffled dB | loss dB |\n|---|--:|--:|--:|")
    for path in clips:
        sample = make_sample(path, preset, Options(frames=FRAMES, max_side=352))
        damaged, unsteady = sample.aged.frames, is_unsteady(sample.aged.frames)
        order = np.random.default_rng(0).permutation(np.delete(np.arange(FRAMES), MIDDLE))
        shuffled = damaged[np.insert(order, MIDDLE, MIDDLE)]
        found = [middle_psnr(restorer, c, sample.truth, unsteady) for c in (damaged, shuffled)]
        rows.append((*found, found[0] - found[1]))
        print(f"| {path.stem} | " + " | ".join(f"{v:.2f}" for v in rows[-1]) + " |", flush=True)
    mean = " | ".join(f"{v:.2f}" for v in np.mean(rows, axis=0))
    print(f"| **mean of {len(rows)}** | {mean} |")


if __name__ == "__main__":
    main()
