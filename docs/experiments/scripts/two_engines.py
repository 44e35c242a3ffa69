"""PSNR of clips restored with motion followed by OpenCV and by tensors, on the CPU.

Run: python docs/experiments/scripts/two_engines.py FOLDER [--size fast] [--frames 9] [--side 320]

The clips of FOLDER that --clips names are aged by each preset. Both engines restore the same bytes.
PSNR is of the middle frames, which have all of their neighbours.
"""

import argparse
from pathlib import Path

import numpy as np

from jobs.evaluate.samples import Options, make_sample
from models.restorer import Restorer, limit_threads

CLIPS = "davis_breakdance", "davis_kite-surf", "derf_foreman_cif"
PRESETS = "film", "g25", "tape"
AROUND = 2  # frames at each end that are not measured


def psnr(images: list[np.ndarray], truth: np.ndarray) -> float:
    inner = slice(AROUND, len(images) - AROUND)
    apart = np.stack(images)[inner] - truth[inner].astype(np.float32) / 255
    return float(-10 * np.log10(np.square(apart).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="fast")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--clips", nargs="*", default=CLIPS)
    given = parser.parse_args()
    limit_threads(1)
    engines = [Restorer(given.size, device="cpu", tensors=which) for which in (False, True)]
    print("| clip | preset | damaged, dB | OpenCV | tensors | difference |")
    print("|---|---|--:|--:|--:|--:|")
    apart = []
    for name in given.clips:
        path = next(given.folder.glob(f"{name}.*"))
        for preset in PRESETS:
            sample = make_sample(path, preset, Options(frames=given.frames, max_side=given.side))
            images = [frame.astype(np.float32) / 255 for frame in sample.aged.frames]
            scores = [psnr(images, sample.truth)]
            for restorer in engines:
                stream = restorer.stream(images, deflicker=preset == "film")
                scores.append(psnr([one.image for one in stream], sample.truth))
            apart.append(scores[2] - scores[1])
            figures = " | ".join(f"{score:.2f}" for score in scores)
            print(f"| {name} | {preset} | {figures} | {apart[-1]:+.3f} |", flush=True)
    print(f"\nmean {np.mean(apart):+.3f} dB, from {min(apart):+.3f} to {max(apart):+.3f}")


if __name__ == "__main__":
    main()
