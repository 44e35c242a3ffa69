"""Small networks in the place of the temporal filter, trained side by side and judged.

Run: python docs/experiments/scripts/fused_networks.py train SAMPLES OUT [--seconds N]
     python docs/experiments/scripts/fused_networks.py judge VALID OUT
     python docs/experiments/scripts/fused_networks.py shares VALID SAMPLES

SAMPLES and VALID are folders of fused_samples.py. Each network gives, for every pixel, how much of
some pictures is added to the filter's mean. At the beginning that is nothing. `shares` has one
share of each picture for all pixels, by least squares.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.training.muon import Muon, is_kernel

BATCH, CHARBONNIER, DEFECT_WEIGHT = 4, 6e-3, 4.0
SCALE = 8.0  # differences of pictures in [0, 1], for the network
EVERY, FITTED, RIDGE = 7, 300, 1e-4  # values, samples, and what keeps shares small, of `shares`
KINDS = {  # width, blocks, whether other frames are seen, and damaged ones of them
    "full": (32, 2, True, True),
    "restored": (32, 2, True, False),
    "alone": (32, 2, False, False),
}


class Seen(NamedTuple):
    """What the filter sees of B frames, pictures first; see fused_samples.py."""

    images: Tensor  # (B, 5, 3, H, W) restored, on the centre frame, which is first
    sources: Tensor  # (B, 5, 3, H, W) damaged
    agree: Tensor  # (B, 4, H, W)
    mean: Tensor  # (B, 3, H, W)
    clean: Tensor  # (B, 3, H, W)
    defects: Tensor  # (B, 1, H, W)
    numbers: Tensor  # (B, 4)

    @classmethod
    def of(cls, planes: Tensor, numbers: Tensor) -> "Seen":
        images, sources, *rest = planes.split([15, 15, 4, 3, 3, 1], 1)
        return cls(images.unflatten(1, (5, 3)), sources.unflatten(1, (5, 3)), *rest, numbers)

    @property
    def share(self) -> Tensor:
        return self.numbers[:, 3, None, None, None]

    @property
    def filtered(self) -> Tensor:
        """What the filter gives."""
        return torch.lerp(self.images[:, 0], self.mean, self.share)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.silu(self.one(F.silu(x))))


class Fused(nn.Module):
    """Coefficients of pictures for every pixel, found at half the size."""

    def __init__(self, width: int, blocks: int, others: bool, damaged: bool) -> None:
        super().__init__()
        self.others, self.damaged = others, damaged
        planes = 3 + 1 + 3 + (3 + 4 + 4 if others else 0) + (4 if damaged and others else 0)
        self.terms = 2 + (5 if others else 0) + (5 if damaged and others else 1)
        self.inp = nn.Conv2d(4 * planes + 4, width, 1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.out = nn.Conv2d(width, 4 * (self.terms + 3), 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, seen: Seen) -> Tensor:
        """The picture (B, 3, H, W) in place of the filtered one."""
        here = seen.images[:, 0]
        mean = seen.mean if self.others else here
        given = [here - 0.5, seen.defects, SCALE * (seen.sources[:, 0] - here)]
        if self.others:
            apart = (seen.images[:, 1:] - here[:, None]).mean(2)
            given += [SCALE * (mean - here), SCALE * apart, seen.agree]
        if self.damaged and self.others:
            given.append(SCALE * (seen.sources[:, 1:] - here[:, None]).mean(2))
        x = F.pixel_unshuffle(torch.cat(given, 1), 2)
        noise, error, weight, share = seen.numbers.unbind(1)
        level = torch.stack([noise.clamp_min(0) / 20, error / 10, weight, share], 1)
        x = torch.cat([x, level[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        x = self.inp(x.contiguous(memory_format=torch.channels_last))
        shares = F.pixel_shuffle(self.out(F.silu(self.blocks(x))), 2)
        picture = mean + shares[:, self.terms :] / SCALE
        for n, term in enumerate(self.pictures(seen, mean)):
            picture = torch.addcmul(picture, shares[:, n : n + 1], term - mean)
        return torch.lerp(here, picture, seen.share)

    def pictures(self, seen: Seen, mean: Tensor) -> list[Tensor]:
        """What shares of are added: `terms` pictures."""
        padded = F.pad(mean, (2, 2, 2, 2), mode="replicate")
        found = [F.avg_pool2d(padded[..., 1:-1, 1:-1], 3, 1), F.avg_pool2d(padded, 5, 1)]
        if self.others:
            found += seen.images.unbind(1)
        damaged = seen.sources.unbind(1)
        return [*found, *(damaged if self.damaged and self.others else damaged[:1])]


def fresh(kind: str) -> Fused:
    torch.manual_seed(7)
    return Fused(*KINDS[kind]).to(memory_format=torch.channels_last)


def read(folder: Path, rng: np.random.Generator, count: int) -> Seen:
    """A batch, turned at random."""
    rows = np.sort(rng.choice(count, BATCH, False))
    planes = np.load(folder / "planes.npy", mmap_mode="r")[rows].astype(np.float32)
    numbers = torch.from_numpy(np.load(folder / "numbers.npy", mmap_mode="r")[rows])
    for axis in (2, 3):
        if rng.random() < 0.5:
            planes = np.flip(planes, axis)
    if rng.random() < 0.5:
        planes = planes.swapaxes(2, 3)
    seen = Seen.of(torch.from_numpy(np.ascontiguousarray(planes)), numbers)
    if rng.random() < 0.5:  # backwards
        order = [0, 4, 3, 2, 1]
        seen = seen._replace(
            images=seen.images[:, order], sources=seen.sources[:, order], agree=seen.agree.flip(1)
        )
    return seen


def loss_of(picture: Tensor, seen: Seen) -> Tensor:
    weight = 1 + (DEFECT_WEIGHT - 1) * (seen.defects > 0.5).float()
    square = ((picture - seen.clean).square() * weight).mean((1, 2, 3))
    return (square + CHARBONNIER**2).sqrt().mean()


class Run:
    """One of them in training, with the mean of its weights over time."""

    def __init__(self, kind: str, rate: float) -> None:
        self.net, self.mean, self.rate = fresh(kind).train(), fresh(kind), rate
        learned = list(self.net.parameters())
        rest = [one for one in learned if not is_kernel(one)]
        self.optimisers = (
            Muon(filter(is_kernel, learned), rate),
            torch.optim.AdamW(rest, rate, (0.9, 0.99), weight_decay=0.0),
        )
        self.gains: list[float] = []

    def step(self, seen: Seen, share: float, step: int) -> None:
        rate = min(share / 0.02, 1.0) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = self.rate * max(rate, 1e-3)
            optimiser.zero_grad(set_to_none=True)
        picture = self.net(seen)
        loss = loss_of(picture, seen)
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)):
            for optimiser in self.optimisers:
                optimiser.step()
        with torch.no_grad():
            keep = min(0.998, step / (step + 10))
            for mean, now in zip(self.mean.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
            gain = decibels(picture, seen.clean) - decibels(seen.filtered, seen.clean)
            self.gains.append(float(gain.mean()))

    def log(self) -> float:
        gain, self.gains = float(np.mean(self.gains)), []
        return round(gain, 4)


def decibels(picture: Tensor, clean: Tensor) -> Tensor:
    """PSNR of each picture."""
    square = (picture.clamp(0, 1) - clean).square().mean((1, 2, 3))
    return -10 * square.clamp_min(1e-8).log10()


def train(
    folder: Path, out: Path, kinds: list[str], seconds: float, rate: float, start: Path | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    runs = {kind: Run(kind, rate) for kind in kinds}
    for kind, run in runs.items() if start else ():
        for net in (run.net, run.mean):
            net.load_state_dict(torch.load(start / f"{kind}.pt", weights_only=True))
    started, step = time.process_time(), 0
    with (out / "log.jsonl").open("a") as log:
        while (gone := time.process_time() - started) < seconds:
            ready = int((folder / "done").read_text() or 4)
            seen = read(folder, np.random.default_rng((5, step)), ready)
            for run in runs.values():
                run.step(seen, gone / seconds, step)
            step += 1
            if step % 100 == 0:
                row = {"step": step, "cpu": round(time.process_time()), "ready": ready}
                log.write(json.dumps(row | {kind: run.log() for kind, run in runs.items()}) + "\n")
                log.flush()
            if step % 500 == 0:
                save(runs, out)
    save(runs, out)


def save(runs: dict[str, Run], out: Path) -> None:
    for kind, run in runs.items():
        torch.save(run.mean.state_dict(), out / f"{kind}.pt")


@torch.inference_mode()
def judge(valid: Path, out: Path) -> None:
    """PSNR by preset: the network's picture, the filter's, and those of the networks."""
    nets = {}
    for path in sorted(out.glob("*.pt")):
        nets[path.stem] = fresh(path.stem).eval()
        nets[path.stem].load_state_dict(torch.load(path, weights_only=True))
    rows: dict[str, list[list[float]]] = {}
    for path in sorted(valid.glob("*.npz")):
        with np.load(path) as kept:
            seen = Seen.of(*(torch.from_numpy(kept[name]) for name in ("planes", "numbers")))
        shown = [seen.images[:, 0], seen.filtered, *(net(seen) for net in nets.values())]
        row = [float(decibels(one, seen.clean).mean()) for one in shown]
        rows.setdefault(path.stem.partition("-")[0], []).append(row)
    for preset, values in rows.items():
        found = np.array(values)
        over = found[:, 2:] - found[:, 1:2]
        network, usual = found[:, :2].mean(0)
        print(f"{preset:5} {len(found)} clips: network {network:.3f}, filter {usual:.3f}")
        for name, column in zip(nets, over.T, strict=True):
            error = column.std(ddof=1) / len(column) ** 0.5
            least, most = column.min(), column.max()
            print(f"  {name}: {column.mean():+.3f} +- {error:.3f}, {least:+.3f} to {most:+.3f}")


class Moments(NamedTuple):
    """Of the pictures that shares are added of (n), and what the filter's picture lacks."""

    pairs: np.ndarray  # (n, n)
    lacking: np.ndarray  # (n,)

    @classmethod
    def of(cls, seen: Seen) -> "Moments":
        terms = fresh("full").pictures(seen, seen.mean)
        columns = torch.stack([one - seen.mean for one in terms]).flatten(1)[:, ::EVERY].double()
        lacking = (seen.clean - seen.filtered).flatten()[::EVERY].double()
        square = lacking @ lacking
        return cls((columns @ columns.T / square).numpy(), (columns @ lacking / square).numpy())

    def gain(self, added: np.ndarray) -> float:
        """Decibels."""
        return float(-10 * np.log10(1 - 2 * added @ self.lacking + added @ self.pairs @ added))


def fitted(moments: list[Moments]) -> np.ndarray:
    """The shares with the least square error; every sample counts alike."""
    pairs, lacking = (np.mean(column, 0) for column in zip(*moments, strict=True))
    return np.linalg.solve(pairs + RIDGE * np.eye(len(pairs)), lacking)


@torch.inference_mode()
def shares(valid: Path, samples: Path) -> None:
    """What one share of each picture gains: fitted to training, to other clips, to the clip."""
    ready, learned = int((samples / "done").read_text()), []
    arrays = [np.load(samples / f"{name}.npy", mmap_mode="r") for name in ("planes", "numbers")]
    for n in range(0, ready, max(ready // FITTED, 1)):
        seen = Seen.of(*(torch.from_numpy(one[n : n + 1].astype(np.float32)) for one in arrays))
        if seen.share > 0.9:
            learned.append(Moments.of(seen))
    general = fitted(learned)
    print(f"on training itself {np.mean([one.gain(general) for one in learned]):+.3f}")
    found: dict[str, list[Moments]] = {}
    for path in sorted(valid.glob("*.npz")):
        with np.load(path) as kept:
            rows = (torch.from_numpy(kept[name][1:11:2]) for name in ("planes", "numbers"))
            found.setdefault(path.stem.partition("-")[0], []).append(Moments.of(Seen.of(*rows)))
    for preset, clips in found.items():
        gains = [
            (
                one.gain(general),
                one.gain(fitted([other for other in clips if other is not one])),
                one.gain(fitted([one])),
            )
            for one in clips
        ]
        print(preset, "training, other clips, own clip:", np.mean(gains, 0).round(3))


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("train", "judge", "shares"))
    asked.add_argument("samples", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--kinds", nargs="+", default=list(KINDS))
    asked.add_argument("--seconds", type=float, default=800.0, help="of the CPU")
    asked.add_argument("--rate", type=float, default=2e-3)
    asked.add_argument("--start", type=Path, help="folder of trained networks to start from")
    given = asked.parse_args()
    torch.set_num_threads(1)
    if given.what == "train":
        train(given.samples, given.out, given.kinds, given.seconds, given.rate, given.start)
    elif given.what == "judge":
        judge(given.samples, given.out)
    else:
        shares(given.samples, given.out)


if __name__ == "__main__":
    main()
