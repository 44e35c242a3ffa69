"""Sequences of frames with the features that the shipped network makes of each, kept in a folder.

Run: python docs/experiments/scripts/shot_features.py BANKS OUT --sequences N [--part K OF]

BANKS is the folder `bank` of a training (`archive-restore train`). The shipped network is not
trained on, so its features are made once. OUT gets one array a field, N sequences of `FRAMES` frames.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from models.motion.alignment import LUMA_SIGMA, SPAN, Aligner, FlowFrame, flow_step
from models.motion.opencv import OPENCV
from models.network import checkpoint
from models.network.precision import half
from models.network.unet import RestorationNet
from models.training.dataset import ARRAYS, CROP_MARGIN, DEFECT, upright_structure, weave

FRAMES, CROP = 8, 96
SIDE = CROP + 2 * CROP_MARGIN
SHARES = {"noise": 0.25, "clean": 0.08, "bare": 0.2, "still": 0.25, "upright": 0.7, "bar": 0.05}
SIGMA = 2.0, 42.0  # of white noise, code values
FIELDS = {  # of one frame: shape and type
    "source": ((3, CROP, CROP), np.float16),
    "clean": ((3, CROP, CROP), np.float16),
    "marks": ((CROP, CROP), np.uint8),
    "y4": ((64, CROP // 4, CROP // 4), np.float16),
    "image": ((3, CROP, CROP), np.float16),
    "logits": ((CROP, CROP), np.float16),
    "flow": ((2, 2, CROP // 4, CROP // 4), np.float16),
    "trust": ((2, CROP // 4, CROP // 4), np.float16),
    "apart": ((2, CROP, CROP), np.float16),
}


class Windows(NamedTuple):
    """The frames of a sequence with what the motion shows, as tensors."""

    window: Tensor  # (T, 5, 3, S, S)
    trust: Tensor  # (T, 4, S, S)
    flow: Tensor  # to the previous and to the next frame, (T, 2, 2, S/4, S/4), in quarter pixels
    believed: Tensor  # confidence in both, (T, 2, S/4, S/4)
    apart: Tensor  # luma less that of the previous and next frame, aligned, (T, 2, S, S)
    step: Tensor  # `flow` at full size, in pixels, (T, 2, 2, S, S)
    sure: Tensor  # `believed` at full size, (T, 2, S, S)


def aligned(frames: np.ndarray, wanted: range, preset: str, margin: int) -> Windows:
    """Windows of the wanted ones of frames (N, H, W, 3) in [0, 1], without their margin."""
    aligner, search = Aligner(preset), OPENCV.search(preset)
    flows = [FlowFrame.of(np.ascontiguousarray(frame), LUMA_SIGMA) for frame in frames]
    inner = (slice(margin, -margin or None),) * 2
    rows = []
    for t in wanted:
        others = {k: flows[t + k] for k in range(-SPAN, SPAN + 1) if k and 0 <= t + k < len(flows)}
        steps, believed = [], []
        for side in (-1, 1):
            if side not in others:
                empty = np.zeros(flows[t].luma.shape, np.float32)
                steps.append(np.stack([empty, empty], -1))
                believed.append(empty)
                continue
            step = flow_step(search, flows[t], others[side], side)
            step, trust = OPENCV.matched(flows[t].luma, others[side].luma, step)
            steps.append(step)
            believed.append(trust)
        warped, trust = aligner.neighbours(flows[t], others)
        luma = [picture.mean(-1) for picture in (flows[t].image, warped[1], warped[2])]
        apart = np.stack([luma[0] - luma[1], luma[0] - luma[2]])
        window = np.stack([flows[t].image, *warped])[:, inner[0], inner[1]].transpose(0, 3, 1, 2)
        quarter = [_quarter(step[inner]).transpose(2, 0, 1) / 4 for step in steps]
        rows.append(
            (
                window,
                trust[:, inner[0], inner[1]],
                np.stack(quarter),
                np.stack([_quarter(plane[inner]) for plane in believed]),
                apart[:, inner[0], inner[1]],
                np.stack([step[inner].transpose(2, 0, 1) for step in steps]),
                np.stack([plane[inner] for plane in believed]),
            )
        )
    columns = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
    return Windows(*(torch.from_numpy(column) for column in columns))


def _quarter(plane: np.ndarray) -> np.ndarray:
    size = plane.shape[1] // 4, plane.shape[0] // 4
    return cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_AREA)


@torch.inference_mode()
def features(net: RestorationNet, seen: Windows) -> dict[str, Tensor]:
    """The denoiser's last features, the picture and the log odds of a defect of every frame."""
    with half(torch.device("cpu")):
        found = net.denoised(seen.window, seen.trust, 1, 0.0, 0)
        out = net.decode(found)
    logits = out.defect_logits[:, 0].clamp(-60, 60)
    return {"y4": found.features, "image": out.image, "logits": logits}


def drawn(rng: np.random.Generator, shelves: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Frames, clean frames (N, S, S, 3) in [0, 1] and marks (N, S, S) of a random place."""
    ends = np.cumsum([len(shelf[0]) for shelf in shelves])
    n = int(rng.integers(ends[-1]))
    shelf = int(np.searchsorted(ends, n, side="right"))
    n -= int(ends[shelf - 1]) if shelf else 0
    clips, damaged, masks, exposures = shelves[shelf]
    top, left = (int(rng.integers(0, limit - SIDE + 1)) for limit in clips.shape[2:4])
    where = np.s_[:, top : top + SIDE, left : left + SIDE]
    clean = clips[n][where].astype(np.float32)
    marks, count = masks[n][where].copy(), len(clean)
    gain, offset = np.ones((count, 1, 1, 1), np.float32), np.zeros((count, 1, 1, 1), np.float32)
    kind = rng.random()
    hit = marks == DEFECT
    if kind < SHARES["noise"]:
        noise = rng.normal(0, rng.uniform(*SIGMA), clean.shape).astype(np.float32)
        frames = np.clip(np.rint(clean + noise), 0, 255)
        marks[hit] = 0
    elif kind < SHARES["noise"] + SHARES["clean"]:
        frames = clean.copy()
        marks[hit] = 0
    else:
        frames = damaged[n][where].astype(np.float32)
        gain, offset = (exposures[n, :, k].reshape(-1, 1, 1, 1) for k in (0, 1))
        if rng.random() < SHARES["bare"]:
            frames = np.where(hit[..., None], frames, np.clip(clean * gain + offset, 0, 255))
    target = clean
    if rng.random() < SHARES["still"]:
        scene = clean[count // 2]
        if rng.random() < SHARES["upright"]:
            scene = scene + upright_structure(rng, scene.shape[:2])[..., None]
        target = weave(rng, scene, count, count // 2)
        frames = np.clip(frames + gain * (target - clean), 0, 255)
    target = np.clip(target * gain + offset, 0, 255)
    if rng.random() < SHARES["bar"]:
        bar, level = int(rng.integers(1, SIDE // 2)), rng.uniform(0, 24)
        frames[:, :, :bar], target[:, :, :bar], marks[:, :, :bar] = level, level, 0
    return _turned(rng, frames / 255, target / 255, marks)


def _turned(
    rng: np.random.Generator, frames: np.ndarray, target: np.ndarray, marks: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The sequence mirrored, inverted, without colour or backwards."""
    for axis in (0, 1, 2):
        if rng.random() < 0.5:
            frames, target, marks = (np.flip(a, axis) for a in (frames, target, marks))
    if rng.random() < 0.25:
        order = rng.permutation(3)
        frames, target = frames[..., order], target[..., order]
    if rng.random() < 0.2:
        frames, target = 1 - frames, 1 - target
    if rng.random() < 0.1:
        frames, target = (np.repeat(a.mean(-1, keepdims=True), 3, -1) for a in (frames, target))
    return frames, target, marks


def sequence(
    rng: np.random.Generator, shelves: list[list[np.ndarray]], net: RestorationNet
) -> dict[str, np.ndarray]:
    """One training sequence: every field of `FIELDS`, (FRAMES, ...)."""
    frames, target, marks = drawn(rng, shelves)
    first = int(rng.choice([0, 2, 4], p=[0.1, 0.8, 0.1]))  # a tenth at either end of a shot
    wanted = range(first, first + FRAMES)
    seen = aligned(np.ascontiguousarray(frames, np.float32), wanted, "fast", CROP_MARGIN)
    inner = np.s_[first : first + FRAMES, CROP_MARGIN:-CROP_MARGIN, CROP_MARGIN:-CROP_MARGIN]
    made = {name: tensor.float().numpy() for name, tensor in features(net, seen).items()}
    return made | {
        "source": seen.window[:, 0].numpy(),
        "clean": target[inner].transpose(0, 3, 1, 2),
        "marks": marks[inner],
        "flow": seen.flow.numpy(),
        "trust": seen.believed.numpy(),
        "apart": seen.apart.numpy(),
    }


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("banks", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--sequences", type=int, default=1200)
    asked.add_argument("--part", type=int, nargs=2, default=(0, 1))
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    net = checkpoint.load(checkpoint.shipped("base")).to(memory_format=torch.channels_last)
    shelves = [
        [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        for folder in sorted(path for path in given.banks.iterdir() if path.is_dir())
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, (shape, kind) in FIELDS.items():
        path, whole = given.out / f"{name}.npy", (given.sequences, FRAMES, *shape)
        fresh = given.part[0] == 0
        arrays[name] = np.lib.format.open_memmap(
            path, "w+" if fresh else "r+", kind, whole if fresh else None
        )
    for n in range(given.part[0], given.sequences, given.part[1]):
        for name, value in sequence(np.random.default_rng((61, n)), shelves, net).items():
            arrays[name][n] = value
        (given.out / f"done-{given.part[0]}").write_text(str(n))


if __name__ == "__main__":
    main()
