"""One network in training: its step, its averaged weights, and all that a checkpoint has of it.

A step never waits for the device, so on a GPU it is captured once as a CUDA graph and replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.network import checkpoint
from models.network.precision import half
from models.network.unet import RestorationNet
from models.training.config import TrainConfig
from models.training.dataset import Batch
from models.training.losses import TERMS, loss_of
from models.training.muon import Muon, is_kernel
from models.training.resize import resized
from models.training.schedule import Pace

AS_THEY_ARE = 3  # steps before the capture: they make the optimisers' states
LEAST_TIME = 0.02  # t of a bridge sample


class Learner:
    """A network that learns by the settings of one configuration.

    ``graph`` is whether its steps are one CUDA graph; on a CPU there is none.
    """

    def __init__(self, config: TrainConfig, device: torch.device, graph: bool = True) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        self.net = RestorationNet(config.size, severe=config.severe).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self.ema = self._copied()
        self._rate, self._bridge, self._keep = (torch.zeros((), device=device) for _ in range(3))
        self._sums = torch.zeros(len(TERMS) + 1, device=device)  # of the terms and skipped steps
        self._count = 0
        self._optimisers = self._chosen()
        self._replay = Replay(device) if graph and device.type == "cuda" else None

    def _chosen(self) -> list[torch.optim.Optimizer]:
        config, parameters, rate = self.config, list(self.net.parameters()), self._rate
        chosen: list[torch.optim.Optimizer] = []
        if config.optimiser == "sgd":
            sgd = torch.optim.SGD(parameters, lr=rate, momentum=0.9, fused=True)
            for (
                parameter
            ) in parameters:  # else they are undefined after a first step that is skipped
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return [sgd]
        if config.optimiser == "muon":
            chosen = [Muon(filter(is_kernel, parameters), rate, config.weight_decay)]
            parameters = [p for p in parameters if not is_kernel(p)]
        adamw = torch.optim.AdamW(
            parameters,
            lr=rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=self.device.type == "cuda",
        )
        return [*chosen, adamw]

    def fit_vae(self, images: Tensor) -> float:
        """Fit the VAE on half of the images (N, 3, H, W); bits per dimension of the other half."""
        self.net.vae.cpu().fit(images[::2])
        bits = self.net.vae.elbo_bits_per_dim(images[1::2])
        self.net.vae.to(self.device)
        self.ema = self._copied()
        return bits

    def start_from(self, weights: Path) -> None:
        """Begin with trained weights, VAE included; those of another size are resized."""
        trained = checkpoint.load(weights)
        if (trained.size, trained.severe) != (self.config.size, self.config.severe):
            trained = resized(trained, self.config.size, self.config.severe)
        self.net.load_state_dict(trained.state_dict())
        self.ema = self._copied()

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}

    def advance(self, batch: Batch, pace: Pace) -> None:
        """One step on a batch of the device: with a graph, always the same tensors."""
        self._rate.fill_(pace.rate)
        self._bridge.fill_(pace.bridge)
        self._keep.fill_(pace.keep)
        self._count += 1
        if self._replay is None:
            self._step(batch)
        else:
            self._replay(lambda: self._step(batch))

    def _step(self, batch: Batch) -> None:
        parameters = list(self.net.parameters())
        t, kappa = self._times(batch)
        with half(self.device):
            output = self.net(
                batch.window, batch.trust, t, batch.noise, batch.clean, kappa, batch.levels
            )
        losses = loss_of(output, batch, self.net.vae.encode(batch.clean), self.config)
        self.net.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        finite = torch.isfinite(norm)
        skipped = (~finite).float()
        for optimiser in self._optimisers:
            optimiser.grad_scale, optimiser.found_inf = None, skipped  # type: ignore[attr-defined]
            optimiser.step()
        with torch.no_grad():
            weight = (1 - self._keep) * (1 - skipped)
            for name, parameter in self.net.named_parameters():
                self.ema[name].lerp_(parameter, weight)
            terms = torch.stack([losses[name].detach().float() for name in TERMS])
            self._sums[:-1] += terms.masked_fill(~finite, 0.0)
            self._sums[-1] += skipped

    def _times(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """t (B,) and kappa (B, 1, h, w) of the latents.

        A sample is the posterior mean (t = 1, no noise) or a bridge sample.
        """
        drawn, t = batch.chance.unbind(1)
        bridged = drawn < self._bridge
        kappa = (self.config.kappa * bridged).view(-1, 1, 1, 1)
        plane = kappa.expand(-1, 1, *batch.noise.shape[-2:])
        return t.clamp_min(LEAST_TIME).masked_fill(~bridged, 1.0), plane

    def measures(self) -> dict[str, float]:
        """Means of the losses since the last call, and the share of skipped steps.

        A skipped step has no losses. This waits for the device.
        """
        *sums, skipped = self._sums.tolist()
        count, self._count = self._count, 0
        self._sums.zero_()
        taken = max(count - skipped, 1)
        means = {name: value / taken for name, value in zip(TERMS, sums, strict=True)}
        return means | {"skipped": skipped / max(count, 1)}

    def averaged(self) -> RestorationNet:
        """A copy of the network with the averaged weights, in evaluation mode."""
        net = RestorationNet(self.config.size, self.net.channels, self.net.severe)
        net.load_state_dict(self.ema)
        return net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        optimisers = [optimiser.state_dict() for optimiser in self._optimisers]
        return {"net": self.net.state_dict(), "ema": self.ema, "optimisers": optimisers}

    def resume(self, state: dict[str, Any]) -> None:
        """Take the state of `state`."""
        self.net.load_state_dict(state["net"])
        for name, value in state["ema"].items():
            self.ema[name].copy_(value)
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
            for group in optimiser.param_groups:
                group["lr"] = self._rate  # loading has put a copy in its place


class Replay:
    """Runs a step that uses the same tensors every time: after a few times as a CUDA graph."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._runs = 0

    def __call__(self, step: Callable[[], None]) -> None:
        """Run the step. Raises RuntimeError if it cannot be captured."""
        self._runs += 1
        if self._runs <= AS_THEY_ARE:  # in another stream than the default one, as for a capture
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                step()
            torch.cuda.current_stream().wait_stream(self._stream)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # loader threads may use the device meanwhile
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                step()
        self._graph.replay()
