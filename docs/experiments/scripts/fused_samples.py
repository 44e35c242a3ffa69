"""What the temporal filter sees of frames of the banks, kept in a folder.

Run: python docs/experiments/scripts/fused_samples.py train BANKS OUT [--size S] [--sequences N]
     python docs/experiments/scripts/fused_samples.py valid FOLDER OUT [--size S]

BANKS is the folder `bank` of a training (`archive-restore train`), FOLDER one with clean clips. The
shipped network is not trained on, so what it restores is made once.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import shot_features
import torch
from shot_features import drawn

from jobs.evaluate.evaluate import is_unsteady
from jobs.evaluate.samples import Options, find_clips, make_sample
from models.frame_state import FrameState, number_frames
from models.motion.alignment import FlowFrame, flow_step, further
from models.motion.deflicker import Deflicker
from models.motion.neighbourhood import neighbourhoods
from models.motion.opencv import OPENCV
from models.motion.temporal_filter import FILTER_REACH, MATCHED
from models.motion.windows import align_windows
from models.network import checkpoint
from models.network.sizes import SIZES
from models.network.stage import NetworkStage
from models.network.unet import RestorationNet
from models.training.dataset import ARRAYS

CROP, AROUND = 128, 16  # pixels of a sample, and around it for the flow
OFFSETS = -2, -1, 1, 2
SAMPLES = 6  # of a sequence
# Planes of a sample: restored and damaged frames, centre first; agreement of the others; the mean
# as the filter gives it, of the whole weight; the clean frame; how far each pixel is a defect.
PLANES = 15 + 15 + 4 + 3 + 3 + 1
NUMBERS = 4  # noise (code values; -1 unknown), predicted error, noise weight, share of the filter
BANK_SHARES = {"film": 0.4, "access": 0.15, "tape": 0.1, "web": 0.25, "soiled": 0.1}
SHARES = {"noise": 0.36, "clean": 0.02}  # else as in shot_features.py
# With --native: footage near its own size, in motion, and nothing drawn beside it.
NATIVE = 0.7, "video/"  # least scale, sources
NATIVE_BANKS = {"film": 0.5, "tape": 0.15, "web": 0.3, "access": 0.05, "soiled": 0.0}
NATIVE_SHARES = {"noise": 0.42, "clean": 0.0, "bare": 0.0, "still": 0.05, "bar": 0.0}


def restored(net: RestorationNet, frames: np.ndarray, flow: str) -> list[FrameState]:
    """Frames (N, H, W, 3) in [0, 1] of one shot by the shipped network."""
    windows = align_windows(number_frames(list(frames)), flow)
    return list(NetworkStage(net, 1).run(windows))


def seen(states: Iterable[FrameState]) -> Iterable[tuple[FrameState, np.ndarray, np.ndarray]]:
    """Every frame with its planes but the clean frame's, and its numbers."""
    search = OPENCV.search("ultrafast")
    pairs = ((state, FlowFrame.of(state.image, MATCHED)) for state in states)
    for around in neighbourhoods(pairs, FILTER_REACH):
        state, here = around[0]
        moved, source, agree = {}, {}, {}
        for side in (-1, 1):
            flow = None
            for offset in range(side, side * (FILTER_REACH + 1), side):
                if offset not in around:
                    break
                step = flow_step(search, around[offset - side][1], around[offset][1], side)
                flow = step if flow is None else further(OPENCV, flow, step)
                moved[offset] = OPENCV.warp(around[offset][1].image, flow, cubic=True)
                source[offset] = OPENCV.warp(around[offset][0].source, flow, cubic=True)
                agree[offset] = OPENCV.agreement(here.image, moved[offset])
        mean, weight = OPENCV.weighted_mean(here.image, [(moved[k], agree[k]) for k in moved])
        mean = OPENCV.sharpened(mean, weight, state.noise_weight)
        nothing = np.zeros(here.luma.shape, np.float32)
        planes = [state.image, *(moved.get(k, state.image) for k in OFFSETS)]
        planes += [state.source, *(source.get(k, state.source) for k in OFFSETS)]
        planes += [agree.get(k, nothing)[..., None] for k in OFFSETS]
        planes += [mean, state.defects.numpy()[..., None]]
        known = -1.0 if state.noise is None else state.noise
        numbers = known, state.predicted_error, state.noise_weight, state.filter_share
        yield state, np.concatenate(planes, -1).transpose(2, 0, 1), np.float32(numbers)


def shelves_of(banks: Path, native: bool) -> dict[str, tuple[list[np.ndarray], list[int]]]:
    """The arrays of every bank by its preset, and which of its sequences are drawn from."""
    found = {}
    for folder in sorted(path for path in banks.iterdir() if path.is_dir()):
        arrays = [np.load(folder / f"{one}.npy", mmap_mode="r") for one in ARRAYS]
        index = json.loads((folder / "index.json").read_text())["sequences"]
        scale, source = NATIVE if native else (0.0, "")
        rows = [
            n
            for n, one in enumerate(index)
            if one.get("scale", 1.0) >= scale and one["source"].startswith(source)
        ]
        found[folder.name.partition("_")[0]] = arrays, rows
    return found


def for_training(net: RestorationNet, banks: Path, out: Path, sequences: int, native: bool) -> None:
    """SAMPLES of every sequence, in `planes.npy`, `numbers.npy`; `done` has how many are ready."""
    shelves = shelves_of(banks, native)
    shares = np.array([(NATIVE_BANKS if native else BANK_SHARES)[name] for name in shelves])
    shot_features.SIDE = side = CROP + 2 * AROUND
    shot_features.SHARES |= NATIVE_SHARES if native else SHARES
    flow = SIZES[net.size].flow if native else "fast"
    count = sequences * SAMPLES
    array = np.lib.format.open_memmap(
        out / "planes.npy", "w+", np.float16, (count, PLANES, CROP, CROP)
    )
    facts = np.lib.format.open_memmap(out / "numbers.npy", "w+", np.float32, (count, NUMBERS))
    inner = np.s_[:, AROUND : side - AROUND, AROUND : side - AROUND]
    for n in range(sequences):
        rng = np.random.default_rng((83, n))
        arrays, rows = shelves[list(shelves)[rng.choice(len(shares), p=shares / shares.sum())]]
        row = int(rng.choice(rows))
        frames, target, _ = drawn(rng, [[one[row : row + 1] for one in arrays]])
        states = restored(net, np.ascontiguousarray(frames, np.float32), flow)
        last = len(states) - 1
        ends, within = [0, 1, last - 1, last], np.arange(2, last - 1)
        picks = {*rng.choice(ends, 1), *rng.choice(within, SAMPLES - 1, False)}
        at = n * SAMPLES
        for state, planes, numbers in seen(states):
            if state.index in picks:
                clean = target[state.index].transpose(2, 0, 1)
                array[at] = np.concatenate([planes[:-1], clean, planes[-1:]])[inner]
                facts[at] = numbers
                at += 1
        (out / "done").write_text(str(at))


def for_judging(net: RestorationNet, folder: Path, out: Path) -> None:
    """The middle of every clip, aged by every preset, as one file each."""
    flow = SIZES[net.size].flow
    for preset in ("g25", "film", "tape", "web"):
        side = 352 if preset in ("g25", "tape") else None
        for clip in find_clips([folder]):
            sample = make_sample(clip, preset, Options(12, 0, side))
            frames = sample.aged.frames
            top, left = (max(length - 192, 0) // 2 for length in frames.shape[1:3])
            part = np.s_[:, top : top + 192, left : left + 192]
            images = list(frames.astype(np.float32) / 255)
            if is_unsteady(frames):
                images = [state.source for state in Deflicker().run(number_frames(images))]
            states = restored(net, np.stack(images)[part].copy(), flow)
            planes, numbers = zip(*((rows, facts) for _, rows, facts in seen(states)), strict=True)
            clean = sample.truth[part].transpose(0, 3, 1, 2) / np.float32(255)
            whole = np.stack(planes)
            whole = np.concatenate([whole[:, :-1], clean, whole[:, -1:]], 1)
            name = f"{preset}-{sample.clip}"
            np.savez(out / f"{name}.npz", planes=whole, numbers=np.stack(numbers))
            print(json.dumps({"clip": name, "frames": len(whole)}), flush=True)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("train", "valid"))
    asked.add_argument("footage", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--size", default="base")
    asked.add_argument("--sequences", type=int, default=700)
    asked.add_argument("--native", action="store_true")
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    net = checkpoint.load(checkpoint.shipped(given.size)).to(memory_format=torch.channels_last)
    given.out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        if given.what == "train":
            for_training(net, given.footage, given.out, given.sequences, given.native)
        else:
            for_judging(net, given.footage, given.out)


if __name__ == "__main__":
    main()
