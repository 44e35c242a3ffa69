"""A network over a shot: the shipped layers and states that pass both ways, trained together.

Run: python docs/experiments/scripts/shot_joint.py BANKS OUT [--seconds N] [--kinds KIND...]

BANKS is the folder `bank` of a training (`archive-restore train`). Every step draws new sequences,
so nothing is prepared. Before the first step `both` is nearly the shipped network and the temporal
filter: a mean along the motion, and nothing is learned yet.

both   pictures and features pass through the shot forwards and backwards; the lower layers see the
       forward state, and the picture is fused of both, in the place of the temporal filter
plain  the same, without the filter's sharpening of soft noisy frames
alone  the control: the same steps for the shipped layers, and nothing passes
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import shot_features
import torch
from shot_features import aligned, drawn
from shot_networks import losses
from shot_passing import fresh
from torch import Tensor, nn

from models.training.dataset import ARRAYS, CROP_MARGIN
from models.training.muon import Muon, is_kernel

FRAMES, SEQUENCES = 8, 2  # of a sequence, in a batch
SHARES = {"noise": 0.4, "bare": 0.1, "still": 0.2, "bar": 0.03}  # else as in shot_features.py
RATES = 1e-4, 1e-3  # of the shipped layers, of the new ones
MAP_WEIGHT, KEEP = 0.05, 0.99  # of the defect map in the loss; of the mean of weights over steps


def what_is_seen(frames: np.ndarray, wanted: range, flow: str, margin: int) -> dict[str, Tensor]:
    """What the network sees of the wanted ones of frames (N, H, W, 3) in [0, 1], (T, ...)."""
    seen = aligned(frames, wanted, flow, margin)
    return {"window": seen.window, "trust": seen.trust, "flow": seen.step, "believed": seen.sure}


def sequence(rng: np.random.Generator, shelves: list[list[np.ndarray]]) -> dict[str, Tensor]:
    """One training sequence, (FRAMES, ...)."""
    frames, target, marks = drawn(rng, shelves)
    first = int(rng.choice([0, 2, 4], p=[0.15, 0.7, 0.15]))
    wanted = range(first, first + FRAMES)
    seen = what_is_seen(np.ascontiguousarray(frames, np.float32), wanted, "fast", CROP_MARGIN)
    inner = np.s_[first : first + FRAMES, CROP_MARGIN:-CROP_MARGIN, CROP_MARGIN:-CROP_MARGIN]
    clean = np.ascontiguousarray(target[inner].transpose(0, 3, 1, 2), np.float32)
    return seen | {
        "clean": torch.from_numpy(clean),
        "marks": torch.from_numpy(np.ascontiguousarray(marks[inner])),
    }


class Run:
    """One of them in training, with the mean of its weights over time."""

    def __init__(self, kind: str, start: Path | None) -> None:
        self.kind, self.shot, self.mean = (
            kind,
            fresh(kind).train(),
            fresh(kind).requires_grad_(False),
        )
        for net in (self.shot, self.mean) if start else ():
            net.load_state_dict(torch.load(start, weights_only=True))
        old = list(self.shot.net.parameters())
        kept = {id(one) for one in old}
        new = [one for one in self.shot.parameters() if id(one) not in kept]
        groups = (
            (Muon(filter(is_kernel, old), RATES[0]), RATES[0]),
            (torch.optim.AdamW([p for p in old if not is_kernel(p)], weight_decay=0.0), RATES[0]),
            (torch.optim.AdamW(new, betas=(0.9, 0.99), weight_decay=0.0), RATES[1])
            if new
            else None,
        )
        self.optimisers = [group for group in groups if group]
        self.rows: list[list[float]] = []

    def step(self, seen: dict[str, Tensor], share: float, step: int) -> None:
        rate = min((step + 1) / 30, 1.0) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        for optimiser, most in self.optimisers:
            optimiser.param_groups[0]["lr"] = most * max(rate, 1e-3)
            optimiser.zero_grad(set_to_none=True)
        shown = self.shot(seen)
        pixel, marked = losses(shown, seen)
        (pixel + MAP_WEIGHT * marked).backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(self.shot.parameters(), 1.0)):
            for optimiser, _ in self.optimisers:
                optimiser.step()
        keep = min(KEEP, (step + 1) / (step + 10))
        with torch.no_grad():
            pairs = zip(self.mean.parameters(), self.shot.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - keep)
            square = (shown.image.clamp(0, 1) - seen["clean"]).square().mean((2, 3, 4))
            decibels = -10 * square.clamp_min(1e-6).log10().mean()
        self.rows.append([float(pixel.detach()), float(marked.detach()), float(decibels)])

    def log(self) -> list[float]:
        found, self.rows = np.mean(self.rows, 0).round(4).tolist(), []
        return found


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("banks", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--kinds", nargs="+", default=["both", "alone"])
    asked.add_argument("--seconds", type=float, default=1500.0, help="of the clock")
    asked.add_argument("--start", type=Path, help="weights to start from")
    asked.add_argument("--seed", type=int, default=91)
    given = asked.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    shot_features.SHARES |= SHARES
    given.out.mkdir(parents=True, exist_ok=True)
    shelves = [
        [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        for folder in sorted(given.banks.iterdir())
    ]
    runs = [Run(kind, given.start) for kind in given.kinds]
    started, step = time.monotonic(), 0
    with (given.out / "log.jsonl").open("a") as log:
        while (gone := time.monotonic() - started) < given.seconds:
            rngs = [np.random.default_rng((given.seed, step, n)) for n in range(SEQUENCES)]
            rows = [sequence(rng, shelves) for rng in rngs]
            seen = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
            for run in runs:
                run.step(seen, gone / given.seconds, step)
            step += 1
            if step % 25 == 0:
                row = {"step": step, "cpu": round(time.process_time()), "gone": round(gone)}
                log.write(json.dumps(row | {run.kind: run.log() for run in runs}) + "\n")
                log.flush()
                save(runs, given.out)
    save(runs, given.out)


def save(runs: list[Run], out: Path) -> None:
    for run in runs:
        torch.save(run.mean.state_dict(), out / f"{run.kind}.pt")


if __name__ == "__main__":
    main()
