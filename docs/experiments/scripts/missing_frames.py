"""A frame made from its two neighbours: this project, FFmpeg's minterpolate, and a mean of the two.

Run: python docs/experiments/scripts/missing_frames.py CLIP...

Every second frame of the first 25 of a shot is taken away and made again, at the clip's own size.
The table has the mean PSNR of 8 frames for each clip: frames 5, 7 and so on to 19. The frames near
both ends are left out, because minterpolate does not make all of them.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np

from jobs.evaluate.baselines import ffmpeg_binary
from jobs.evaluate.samples import one_shot
from jobs.evaluate.scores import psnr_of
from models.motion.interpolate import between
from pipeline.media.rgb import read_rgb

FILTER = "minterpolate=fps=24:mi_mode=mci:scd=none"
PLACES = range(5, 20, 2)  # of the frames that are scored


def interpolated(kept: np.ndarray) -> np.ndarray:
    """The kept frames at 12 a second brought to 24 by FFmpeg, (T, H, W, 3)."""
    size = f"{kept.shape[2]}x{kept.shape[1]}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    command = [str(ffmpeg_binary()), "-v", "error", "-nostdin", *raw, "-s", size, "-r", "12"]
    command += ["-i", "pipe:0", "-vf", FILTER, *raw, "pipe:1"]
    done = subprocess.run(command, input=kept.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *kept.shape[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", metavar="CLIP", type=Path, nargs="+")
    rows = []
    clips = parser.parse_args().clips
    print("| clip | mean of two dB | minterpolate dB | ours dB |\n|---|--:|--:|--:|")
    for path in clips:
        _, truth = one_shot(read_rgb(path), 25)
        images, theirs = np.divide(truth, 255, dtype=np.float32), interpolated(truth[::2])
        mean = [(images[i - 1] + images[i + 1]) / 2 for i in PLACES]
        ours = [between(images[i - 1], images[i + 1])[0] for i in PLACES]
        made = [np.rint(255 * np.clip(frames, 0, 1)).astype(np.uint8) for frames in (mean, ours)]
        wanted = truth[PLACES.start : PLACES.stop : 2]
        shift = min(range(3), key=lambda k: -psnr_of(theirs[k : k + 21 : 2], truth[0:21:2]))
        found = [made[0], theirs[PLACES.start + shift : PLACES.stop + shift : 2], made[1]]
        rows.append([psnr_of(frames, wanted) for frames in found])
        print(f"| {path.stem} | " + " | ".join(f"{v:.2f}" for v in rows[-1]) + " |", flush=True)
    print("| **mean** | " + " | ".join(f"{v:.2f}" for v in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
