"""Training of the restoration network: resumable, one configuration, logs as JSON lines.

A training has two stages, each a share of the steps: ``faithful`` regresses the posterior mean
(t = 1, no noise); ``bridge`` trains all t with noise, so that sampling in more steps works. The VAE
is fitted in closed form before the first step.
"""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.predicted_error import ERROR_BLOCK, error_scale
from models.frame_state import Image
from models.motion.windows import windows
from models.network import checkpoint
from models.network.precision import half
from models.network.unet import SIZES, NetworkOutput, RestorationNet
from models.training.dataset import DEFECT, Bank, Batch, Mix
from models.training.muon import Muon, is_kernel
from models.training.resize import resized

FIT_FRAMES = 400  # bank frames that the VAE is fitted on
OPTIMISERS = ("adamw", "muon", "sgd")
PIXEL_LOSSES = ("absolute", "square")  # "square": root of each sample's mean square error


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training; one TOML file (models/recipes/*.toml)."""

    size: str = "fast"
    severe: bool = False  # whether the damage levels of the frame are an input of the network
    steps: int = 14000
    batch: int = 8
    crop: int = 80
    lr: float = 1e-3
    lr_last: float = 1e-6
    warmup: int = 200
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    optimiser: str = "adamw"  # one of OPTIMISERS; "muon" for kernels, with AdamW for the rest
    clip: float = 1.0
    ema: float = 0.999
    bridge_share: float = 0.25  # share of the samples that are bridge samples, in the bridge stage
    bridge_from: float = 0.6  # share of the steps after which the bridge stage begins
    kappa: float = 0.2
    latent_weight: float = 0.3
    defect_weight: float = 6.0  # pixel loss in defects and things, relative to elsewhere
    defect_map_weight: float = 0.02  # binary cross entropy of the defect map
    error_weight: float = 0.02  # absolute error of the predicted error
    charbonnier: float = 1e-3  # error in [0, 1] images below which the pixel loss is square
    pixel_loss: str = "absolute"  # one of PIXEL_LOSSES
    seed: int = 0
    log_every: int = 50
    validate_every: int = 1000
    mix: Mix = field(default_factory=Mix)
    banks: dict[str, int] = field(default_factory=lambda: {"film_train": 1386})  # preset: sequences

    def __post_init__(self) -> None:
        for key, choices in (("optimiser", OPTIMISERS), ("pixel_loss", PIXEL_LOSSES)):
            if (value := getattr(self, key)) not in choices:
                raise ValueError(f"{key} {value!r}: choose of {', '.join(choices)}")


def load_config(path: Path, **overrides: object) -> TrainConfig:
    """Read a TrainConfig from TOML; ``overrides`` that are not None win.

    Raises ValueError with the names of unknown keys.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    values: dict[str, Any] = tomllib.loads(path.read_text()) | given
    unknown = set(values) - {f.name for f in fields(TrainConfig)}
    if unknown:
        raise ValueError(f"{path.name}: unknown settings {sorted(unknown)}")
    if "mix" in values:
        values["mix"] = Mix(**_tupled(values["mix"]))
    return TrainConfig(**_tupled(values))


def _tupled(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def charbonnier(difference: Tensor, eps: float) -> Tensor:
    """sqrt(d^2 + eps^2) (Charbonnier et al., ICIP 1994): L1 with a smooth floor."""
    return (difference.square() + eps * eps).sqrt()


def loss_of(
    output: NetworkOutput, batch: Batch, latent: Tensor, config: TrainConfig
) -> dict[str, Tensor]:
    """The terms of the training loss and their weighted sum ``total``.

    The least mean square error is at the posterior mean, which has the highest PSNR. Its root per
    sample keeps the worst samples from dominating.
    """
    contested = torch.maximum(batch.defects, batch.things)
    weight, eps = 1 + (config.defect_weight - 1) * contested, config.charbonnier
    off = output.image - batch.clean
    if config.pixel_loss == "square":
        pixel = ((off.square() * weight).mean((1, 2, 3)) + eps * eps).sqrt().mean()
    else:
        pixel = (charbonnier(off, eps) * weight).mean()
    in_latent = charbonnier(output.latent - latent, eps).mean()
    defects = F.binary_cross_entropy_with_logits(output.defect_logits, batch.defects)
    damage = (batch.window[:, 0] - batch.clean).abs().mean(1, keepdim=True)
    predicted = F.avg_pool2d(output.error, ERROR_BLOCK)
    error = (predicted - error_scale(F.avg_pool2d(damage, ERROR_BLOCK))).abs().mean()
    total = pixel + config.latent_weight * in_latent
    total = total + config.defect_map_weight * defects + config.error_weight * error
    terms = {"pixel": pixel, "latent": in_latent, "defects": defects, "error": error}
    return {"total": total, **terms}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to ``lr_last``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr_last + (config.lr - config.lr_last) * 0.5 * (
        1 + math.cos(math.pi * min(progress, 1))
    )


class Trainer:
    """One training in a folder: ``last.pt`` (to resume), ``ema.safetensors``, ``log.jsonl``."""

    def __init__(
        self,
        config: TrainConfig,
        banks: Sequence[Path],
        out: Path,
        *,
        start: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.config, self.out = config, out
        self.device = device or checkpoint.device_default()
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.data = Bank(banks, config.crop, config.mix, config.seed)
        self.net = RestorationNet(config.size, severe=config.severe).to(
            self.device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self.ema = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.optimisers = self._optimisers()
        self.step, self.cpu_seconds = 0, 0.0
        if (out / "last.pt").exists():
            self._resume()
        elif start is not None:
            self._start_from(start)
        else:
            self._fit_vae(banks[0])

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        config, parameters = self.config, list(self.net.parameters())
        chosen: list[torch.optim.Optimizer] = []
        if config.optimiser == "sgd":
            return [torch.optim.SGD(parameters, lr=config.lr, momentum=0.9)]
        if config.optimiser == "muon":
            chosen = [Muon(filter(is_kernel, parameters), config.lr, config.weight_decay)]
            parameters = [p for p in parameters if not is_kernel(p)]
        decay = config.weight_decay
        adamw = torch.optim.AdamW(parameters, lr=config.lr, betas=config.betas, weight_decay=decay)
        return [*chosen, adamw]

    def _fit_vae(self, bank: Path) -> None:
        clean = np.load(bank / "clean.npy", mmap_mode="r")
        rng = np.random.default_rng(self.config.seed)
        picks = rng.integers(len(clean), size=FIT_FRAMES)
        frames = np.stack([clean[n, rng.integers(clean.shape[1])] for n in picks])
        images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        self.net.vae.cpu().fit(images[::2])
        bits = self.net.vae.elbo_bits_per_dim(images[1::2])
        self.net.vae.to(self.device)
        self.ema = {name: value.clone() for name, value in self.net.state_dict().items()}
        self._log({"step": 0, "elbo_bits_per_dim": round(bits, 4)})

    def _start_from(self, weights: Path) -> None:
        """Begin with trained weights, VAE included, for other data or a new schedule.

        Weights of another size are resized.
        """
        trained = checkpoint.load(weights)
        if (trained.size, trained.severe) != (self.config.size, self.config.severe):
            trained = resized(trained, self.config.size, self.config.severe)
        self.net.load_state_dict(trained.state_dict())
        self.ema = {name: value.clone() for name, value in self.net.state_dict().items()}
        self._log({"step": 0, "start_sha256": checkpoint.sha256(weights)})

    def run(self, until: int | None = None, valid: Path | None = None) -> None:
        """Train to ``until`` steps (default: the end), then write the EMA weights.

        Validates on ``valid`` every `validate_every` steps and at the end.
        """
        started, sums, count = time.process_time(), dict[str, float](), 0
        last = until or self.config.steps
        for batch in self._batches(last):
            for name, value in self._advance(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if self.step % self.config.log_every == 0:
                seconds = self.cpu_seconds + time.process_time() - started
                means = {name: round(value / count, 6) for name, value in sums.items()}
                self._log({"step": self.step, "cpu_s": round(seconds, 1), **means})
                sums, count = dict[str, float](), 0
            if self.step % self.config.validate_every == 0 or self.step == last:
                self._save(time.process_time() - started)
                if valid is not None:
                    before = time.process_time()
                    self._log({"step": self.step, **validate(self.averaged(), valid)})
                    started += time.process_time() - before
        self._save(time.process_time() - started)

    def _batches(self, until: int) -> Iterator[Batch]:
        """Batches from the current step on; each is prepared during training on the one before."""
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self.data.batch, self.step, self.config.batch)
            for step in range(self.step + 1, until + 1):
                batch = following.result()
                following = ahead.submit(self.data.batch, step, self.config.batch)
                yield batch

    def _advance(self, batch: Batch) -> dict[str, float]:
        rate = learning_rate(self.step, self.config)
        for group in (g for optimiser in self.optimisers for g in optimiser.param_groups):
            group["lr"] = rate
        batch = Batch(*(t.to(self.device) for t in vars(batch).values()))
        t, kappa, eps = self._times(len(batch.clean))
        with half(self.device):
            output = self.net(batch.window, batch.trust, t, eps, batch.clean, kappa)
        losses = loss_of(output, batch, self.net.vae.encode(batch.clean), self.config)
        self.net.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            for optimiser in self.optimisers:
                optimiser.step()
            self._average()
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "skipped": float(not finite)
        }

    def _times(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """t (B,), kappa (B, 1, h, w) and noise (B, C, h, w) of the latents.

        A sample is the posterior mean (t = 1, no noise) or, in the bridge stage, a bridge sample.
        """
        config, latent = self.config, self.config.crop // 4
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        in_bridge = self.step >= config.bridge_from * config.steps
        bridged = torch.rand(size, generator=rng) < (config.bridge_share if in_bridge else 0.0)
        t = torch.where(bridged, torch.rand(size, generator=rng).clamp_min(0.02), torch.ones(size))
        kappa = torch.where(bridged, torch.full((size,), config.kappa), torch.zeros(size))
        eps = torch.randn(size, self.net.channels, latent, latent, generator=rng)
        plane = kappa.view(-1, 1, 1, 1).expand(-1, 1, latent, latent)
        return t.to(self.device), plane.to(self.device), eps.to(self.device)

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average with a warm-up: min(ema, (n + 1) / (n + 10))."""
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        for name, value in self.net.state_dict().items():
            self.ema[name].lerp_(value, 1 - decay)

    def averaged(self) -> RestorationNet:
        """A copy of the network with the averaged weights, in evaluation mode."""
        net = RestorationNet(self.config.size, self.net.channels, self.net.severe)
        net.load_state_dict(self.ema)
        return net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def _save(self, seconds: float) -> None:
        state = {
            "step": self.step,
            "net": self.net.state_dict(),
            "ema": self.ema,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "cpu_seconds": self.cpu_seconds + seconds,
        }
        partial = self.out / "last.partial"
        torch.save(state, partial)
        partial.replace(self.out / "last.pt")
        facts: dict[str, object] = {
            "step": self.step,
            "cpu_seconds": round(self.cpu_seconds + seconds),
        }
        checkpoint.save(
            self.averaged(), self.out / "ema.safetensors", facts | {"config": asdict(self.config)}
        )

    def _resume(self) -> None:
        state = torch.load(self.out / "last.pt", map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema, self.step, self.cpu_seconds = state["ema"], state["step"], state["cpu_seconds"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def _log(self, row: dict[str, object]) -> None:
        with (self.out / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def validate(net: RestorationNet, folder: Path, every: int = 3) -> dict[str, object]:
    """Mean PSNR in dB per preset of a small validation bank, and inside its defects.

    Restores every third frame of each sequence.
    """
    clean, mask = np.load(folder / "clean.npy"), np.load(folder / "mask.npy")
    levelled = np.load(folder / "levelled.npy")
    index = json.loads((folder / "index.json").read_text())
    presets = [entry["preset"] for entry in index["sequences"]]
    errors: dict[str, list[float]] = {}
    inside: list[float] = []
    for n, preset in enumerate(presets):
        frames = [f.astype(np.float32) / 255 for f in levelled[n]]
        for i, restored in _windows(net, frames, every):
            square = np.square(np.clip(restored, 0, 1) * 255 - clean[n, i])
            errors.setdefault(preset, []).append(_psnr(float(square.mean())))
            if (defects := mask[n, i] == DEFECT).any():
                inside.append(_psnr(float(square[defects].mean())))
    row: dict[str, object] = {f"psnr_{k}": round(float(np.mean(v)), 3) for k, v in errors.items()}
    return row | {"psnr_in_defects": round(float(np.mean(inside)), 3) if inside else None}


def _windows(net: RestorationNet, frames: list[Image], every: int) -> Iterator[tuple[int, Image]]:
    device = next(net.parameters()).device
    for i, (window, trust, _) in enumerate(windows(frames, SIZES[net.size].flow)):
        if i % every == 1:
            out = net.restore(
                window[None].to(device), trust[None].to(device), steps=1, kappa=0.0, seed=0
            )
            yield i, out.image[0].permute(1, 2, 0).cpu().numpy()


def _psnr(mse: float) -> float:
    return 10 * math.log10(255**2 / max(mse, 1e-3))
