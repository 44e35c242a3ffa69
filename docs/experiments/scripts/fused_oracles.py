"""What would help the temporal filter: better flow, a longer reach, better pictures, exposure.

Run: python docs/experiments/scripts/fused_oracles.py VALID [--size S] [--flips]

VALID is a folder of fused_samples.py. Differences of PSNR from the filter, mean of the clips.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from fused_samples import restored

from models.motion import engine
from models.motion.alignment import FlowFrame, flow_step, further
from models.motion.opencv import OPENCV
from models.motion.temporal_filter import MATCHED
from models.network import checkpoint
from models.network.sizes import SIZES

PRESETS = "g25", "film"


def filtered(
    images: np.ndarray,
    numbers: np.ndarray,
    *,
    reach: int = 2,
    matched: np.ndarray | None = None,
    search: str = "ultrafast",
    sigma: float = MATCHED,
    half: float = engine.HALF_WEIGHT,
    truth: np.ndarray | None = None,
) -> np.ndarray:
    """Frames (T, H, W, 3) as the filter gives them. Flow is searched in ``matched``."""
    find, searched = OPENCV.search(search), images if matched is None else matched
    flows = [FlowFrame.of(np.ascontiguousarray(one), sigma) for one in searched]
    made = []
    for t, here in enumerate(images):
        seen = []
        for side in (-1, 1):
            flow = None
            for at in range(t + side, t + side * (reach + 1), side):
                if not 0 <= at < len(images):
                    break
                step = flow_step(find, flows[at - side], flows[at], side)
                flow = step if flow is None else further(OPENCV, flow, step)
                moved = OPENCV.warp(images[at], flow, cubic=True)
                judged = here if truth is None else truth[t]
                apart = cv2.transform(cv2.absdiff(judged, moved), np.full((1, 3), 255 / 3))
                apart = cv2.blur(apart, (engine.AVERAGED, engine.AVERAGED))
                seen.append((moved, engine.confidence(apart, half)))
        mean, weight = OPENCV.weighted_mean(here, seen)
        mean = OPENCV.sharpened(mean, weight, float(numbers[t, 2]))
        made.append(OPENCV.blended(here, mean, float(numbers[t, 3])))
    return np.stack(made)


def flipped(net: torch.nn.Module, sources: np.ndarray, flow: str) -> np.ndarray:
    """The mean of what the network makes of the frames, of their mirror images and backwards."""
    total = 0
    for along in (False, True):
        for back in (False, True):
            turned = sources[::-1] if back else sources
            turned = turned[:, :, ::-1] if along else turned
            made = np.stack([one.image for one in restored(net, turned.copy(), flow)])
            made = made[:, :, ::-1] if along else made
            total = total + (made[::-1] if back else made)
    return np.ascontiguousarray(total / 4)


def decibels(images: np.ndarray, clean: np.ndarray) -> float:
    square = np.square(images.clip(0, 1) - clean).mean((1, 2, 3))
    return float((-10 * np.log10(square)).mean())


def exposed(images: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The frames with the gain and offset that fit the clean ones best."""
    made = []
    for one, other in zip(images, clean, strict=True):
        gain, offset = np.polyfit(one.ravel(), other.ravel(), 1)
        made.append(one * np.float32(gain) + np.float32(offset))
    return np.stack(made)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("valid", type=Path)
    asked.add_argument("--size", default="base")
    asked.add_argument("--flips", action="store_true")
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    net = checkpoint.load(checkpoint.shipped(given.size)).to(memory_format=torch.channels_last)
    for preset in PRESETS:
        rows: dict[str, list[float]] = {}
        for path in sorted(given.valid.glob(f"{preset}-*.npz")):
            with np.load(path) as kept:
                planes, numbers = kept["planes"], kept["numbers"]
            images, sources, clean = (
                np.ascontiguousarray(planes[:, at : at + 3].transpose(0, 2, 3, 1))
                for at in (0, 15, 37)
            )
            usual = filtered(images, numbers)
            made = {
                "no filter": images,
                "flow of the clean frames": filtered(images, numbers, matched=clean),
                "fine flow": filtered(images, numbers, search="fine"),
                "reach 3": filtered(images, numbers, reach=3),
                "reach 4": filtered(images, numbers, reach=4),
                "agreement with the clean frame": filtered(images, numbers, truth=clean),
                "agreement in half at 3": filtered(images, numbers, half=3.0),
                "agreement in half at 2.5": filtered(images, numbers, half=2.5),
                "exposure of the clean frame": exposed(usual, clean),
            }
            if given.flips:
                with torch.inference_mode():
                    mean = flipped(net, sources, SIZES[given.size].flow)
                made |= {"flips": mean, "flips, filtered": filtered(mean, numbers)}
            base = decibels(usual, clean)
            for name, one in made.items():
                rows.setdefault(name, []).append(decibels(one, clean) - base)
            rows.setdefault("filter", []).append(base)
        for name, values in rows.items():
            print(f"{preset:5} {name:32} {np.mean(values):+.3f}", flush=True)


if __name__ == "__main__":
    main()
