"""Layers that pass states through a shot, on top of the shipped network, and their control.

Run: python docs/experiments/scripts/shot_networks.py SEQUENCES OUT [--seconds N]

SEQUENCES is the folder of shot_features.py. All are trained on the same batches, with the loss on
every frame. At the beginning each gives the picture of the shipped network, which stays as it is.

time   states go through the shot in both directions, along the flow
alone  the same layers, but the states do not move: the same training of the same size, without time
wave   Haar detail bands of the differences from both neighbours, added to the defect map only
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.network import checkpoint
from models.network.precision import half
from models.network.unet import LATENT_SCALE
from models.network.vae import CHANNELS, LATENT_BLOCK, LinearVAE
from models.training.config import load_config
from models.training.dataset import DEFECT, THING

NETWORKS = "time", "alone", "wave"
FEATURES = 64  # of the shipped network at a quarter of the size
LEARNED, WIDTH = 16, 32  # learned channels of a state, and of what is made of two states
SHARE_RATE, APART = 10.0, 16.0  # how fast the share is learned; per unit of [0, 1] images
SEQUENCES = 2  # in a batch
RATE, MAP_WEIGHT = 2e-3, 0.05
RECIPE = load_config(Path("models/recipes/base.toml"))


class Shown(NamedTuple):
    """Pictures (B, T, 3, H, W) and log odds of a defect (B, T, H, W)."""

    image: Tensor
    logits: Tensor


class State(NamedTuple):
    """What passes from frame to frame."""

    mean: Tensor  # of restored pictures along the motion, (B, 3, H, W)
    learned: Tensor  # (B, LEARNED, H/4, W/4)


class Passing(nn.Module):
    """States that pass through a shot, and what they change in picture and defect map; 0 at first.

    Both parts of a state are means along the motion, with gates. Forwards it goes through the whole
    shot. Backwards it begins ``reach`` frames ahead, so memory is bounded.
    """

    def __init__(self, vae: LinearVAE, shared: bool) -> None:
        super().__init__()
        self.vae, self.shared = vae, shared
        gates = LEARNED + 1  # of each learned value, and of the mean
        self.own = nn.Conv2d(FEATURES + 2 * CHANNELS, LEARNED + gates, 3, padding=1)
        self.passed = nn.Conv2d(LEARNED + 2, LEARNED + gates, 3, padding=1, bias=False)
        self.mid = nn.Conv2d(LEARNED, LEARNED, 3, padding=1)
        self.join = nn.Conv2d(2 * (LEARNED + CHANNELS), WIDTH, 3, padding=1)
        self.out = nn.Conv2d(WIDTH, CHANNELS + 2 * LATENT_BLOCK**2, 3, padding=1)
        self.share = nn.Parameter(torch.zeros(()))  # of the means in the picture
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, seen: dict[str, Tensor], reach: int | None = None) -> Shown:
        """Fields of `seen` are (B, T, ...). ``reach`` None is to the end of the shot."""
        count, image = seen["y4"].shape[1], seen["image"].flatten(0, 1)
        with torch.no_grad():
            latent = self.vae.encode(image) * LATENT_SCALE
            removed = self.vae.encode(seen["source"].flatten(0, 1)) * LATENT_SCALE - latent
        with half(image.device):
            own = self.own(torch.cat([seen["y4"].flatten(0, 1), latent, removed], 1))
        own = own.float().unflatten(0, (-1, count))
        ahead = self._chain(own, seen, 0, range(count))
        behind = {}
        for t in range(count) if reach is not None else [0]:
            stop = count if reach is None else min(t + reach + 1, count)
            found = self._chain(own, seen, 1, range(t, stop)[::-1])
            behind |= found if reach is None else {t: found[t]}
        planes = []
        for states in (ahead, behind):
            means, learned = (
                torch.stack(part, 1).flatten(0, 1)
                for part in zip(*(states[t] for t in range(count)), strict=True)
            )
            planes.append((means - image, learned))
        given = [self.vae.encode(means + image) * LATENT_SCALE - latent for means, _ in planes]
        with half(image.device):
            joined = F.silu(self.join(torch.cat([*given, *(one for _, one in planes)], 1)))
            added = self.out(joined).float()
        added, gate, odds = added.split([CHANNELS, LATENT_BLOCK**2, LATENT_BLOCK**2], 1)
        change = F.conv2d(added / LATENT_SCALE, self.vae.basis.t()[:, :, None, None])
        gate = torch.sigmoid(F.pixel_shuffle(gate, LATENT_BLOCK))
        image = image + F.pixel_shuffle(change, LATENT_BLOCK)
        image = image + SHARE_RATE * self.share * gate * (planes[0][0] + planes[1][0])
        odds = F.pixel_shuffle(odds, LATENT_BLOCK)[:, 0].unflatten(0, (-1, count))
        return Shown(image.unflatten(0, (-1, count)), seen["logits"] + odds)

    def _chain(
        self, own: Tensor, seen: dict[str, Tensor], side: int, order: range
    ) -> dict[int, State]:
        """The states of the frames in this order, each with what it got of those before."""
        images, states = seen["image"], {}
        last = State(images[:, order[0]], own.new_zeros(len(own), LEARNED, *own.shape[-2:]))
        for t in order:
            believed = seen["trust"][:, t, side, None] * float(self.shared and t != order[0])
            flow, image = seen["flow"][:, t, side], images[:, t]
            mean = warped(last.mean, enlarged(flow) * LATENT_BLOCK, "bicubic")
            learned = believed * warped(last.learned, flow)
            apart = enlarged(believed) * (mean - image).abs().mean(1, keepdim=True)
            apart = F.avg_pool2d(apart, 5, 1, 2) * APART
            given = [learned, believed, F.avg_pool2d(apart, LATENT_BLOCK)]
            both = own[:, t] + self.passed(torch.cat(given, 1))
            found, gates = both.split([LEARNED, LEARNED + 1], 1)
            gates = believed * torch.sigmoid(gates)  # how much of the past stays
            learned = torch.lerp(self.mid(F.silu(found)), learned, gates[:, 1:])
            stays = enlarged(gates[:, :1]) * torch.exp(-apart)
            last = states[t] = State(torch.lerp(image, mean, stays), learned)
        return states


def enlarged(plane: Tensor) -> Tensor:
    """A plane of a quarter of the size, at full size."""
    return F.interpolate(plane, scale_factor=LATENT_BLOCK, mode="bilinear")


class Bands(nn.Module):
    """Haar bands of two planes, to the log odds of a defect; 0 at first."""

    WIDTH = 8

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Conv2d(2 * 4, self.WIDTH, 3, padding=1)
        self.out = nn.Conv2d(self.WIDTH, 4, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, seen: dict[str, Tensor]) -> Shown:
        apart, count = seen["apart"].flatten(0, 1), seen["apart"].shape[1]
        with half(apart.device):
            added = F.pixel_shuffle(self.out(F.silu(self.inp(haar(apart)))), 2).float()
        return Shown(seen["image"], seen["logits"] + added[:, 0].unflatten(0, (-1, count)))


def haar(planes: Tensor) -> Tensor:
    """The mean band and the three detail bands of planes (B, C, H, W), (B, 4 C, H/2, W/2)."""
    a, b, c, d = F.pixel_unshuffle(planes, 2).unflatten(1, (-1, 4)).unbind(2)
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], 1) * 5


def warped(state: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """A state (B, C, h, w) sampled where the flow (B, 2, h, w) points, in its own pixels."""
    _, _, high, wide = state.shape
    y, x = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    x = 2 * (x + flow[:, 0]) / max(wide - 1, 1) - 1
    y = 2 * (y + flow[:, 1]) / max(high - 1, 1) - 1
    grid = torch.stack([x, y], -1)
    return F.grid_sample(state, grid, mode=mode, padding_mode="border", align_corners=True)


def fresh(kind: str) -> nn.Module:
    """Layers that change nothing yet."""
    torch.manual_seed(7)
    if kind == "wave":
        return Bands()
    vae = checkpoint.load(checkpoint.shipped("base")).vae
    return Passing(vae, kind == "time").to(memory_format=torch.channels_last)


def read(folder: Path, rows: np.ndarray) -> dict[str, Tensor]:
    """Sequences of shot_features.py: fields (B, T, ...), float32."""
    seen = {}
    for path in sorted(folder.glob("*.npy")):
        array = np.load(path, mmap_mode="r")[rows]
        seen[path.stem] = torch.from_numpy(np.asarray(array, np.float32))
    return seen


def ready(folder: Path) -> int:
    """How many sequences were made so far, in all parts."""
    return min(int(path.read_text() or 0) for path in folder.glob("done-*"))


def losses(shown: Shown, seen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Root of each frame's mean square error, and the cross entropy of the defect map."""
    defects, things = (seen["marks"] == DEFECT).float(), (seen["marks"] == THING).float()
    weight = 1 + (RECIPE.defect_weight - 1) * torch.maximum(defects, things)[:, :, None]
    square = ((shown.image - seen["clean"]).square() * weight).mean((2, 3, 4))
    pixel = (square + RECIPE.charbonnier**2).sqrt().mean()
    return pixel, F.binary_cross_entropy_with_logits(shown.logits, defects)


class Run:
    """One of them in training."""

    def __init__(self, kind: str) -> None:
        self.layers = fresh(kind).train()
        learned = list(self.layers.parameters())
        self.optimiser = torch.optim.AdamW(learned, RATE, (0.9, 0.99), weight_decay=1e-4)
        self.sums, self.count = [0.0, 0.0], 0

    def step(self, seen: dict[str, Tensor], share: float) -> None:
        rate = min(share / 0.03, 1.0) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        self.optimiser.param_groups[0]["lr"] = RATE * max(rate, 1e-3)
        pixel, marked = losses(self.layers(seen), seen)
        self.optimiser.zero_grad(set_to_none=True)
        (pixel + MAP_WEIGHT * marked).backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(self.layers.parameters(), 1.0)):
            self.optimiser.step()
        self.sums = [self.sums[0] + float(pixel.detach()), self.sums[1] + float(marked.detach())]
        self.count += 1

    def means(self) -> list[float]:
        found = [round(total / self.count, 5) for total in self.sums]
        self.sums, self.count = [0.0, 0.0], 0
        return found


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("sequences", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--kinds", nargs="+", default=NETWORKS)
    asked.add_argument("--steps", type=int, default=100_000)
    asked.add_argument("--seconds", type=float, default=2000.0)
    given = asked.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    runs = {kind: Run(kind) for kind in given.kinds}
    started, step = time.monotonic(), 0
    with (given.out / "log.jsonl").open("a") as log, ThreadPoolExecutor(2) as pool:
        while step < given.steps and time.monotonic() - started < given.seconds:
            rows = np.random.default_rng((5, step)).choice(ready(given.sequences), SEQUENCES, False)
            seen = read(given.sequences, np.sort(rows))
            share = max(step / given.steps, (time.monotonic() - started) / given.seconds)
            list(pool.map(partial(Run.step, seen=seen, share=share), runs.values()))
            step += 1
            if step % 50 == 0:
                row = {"step": step, "cpu": round(time.process_time())}
                log.write(json.dumps(row | {k: run.means() for k, run in runs.items()}) + "\n")
                log.flush()
                save(runs, given.out)
    save(runs, given.out)


def save(runs: dict[str, Run], out: Path) -> None:
    for kind, run in runs.items():
        torch.save(run.layers.state_dict(), out / f"{kind}.pt")


if __name__ == "__main__":
    main()
