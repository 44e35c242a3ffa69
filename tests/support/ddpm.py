"""Denoising diffusion (Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS
2020), as the reference that the sampler of the bridge is compared with.

Steps count from 1 to N, as in the paper. All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, int], Tensor]  # (x_t, step t) -> estimate of x_0
Variance = Literal["beta", "posterior"]  # the two choices of section 3.2 for a step back


@dataclass(frozen=True)
class Ddpm:
    """A schedule and what follows from it."""

    kept: Tensor  # alpha-bar of steps 0 to N, (N + 1,): the share of the data's variance that stays

    @classmethod
    def linear(cls, steps: int, first: float = 1e-4, last: float = 0.02) -> Self:
        """The schedule of section 4: the noise of a step grows from ``first`` to ``last``."""
        noise = torch.linspace(first, last, steps, dtype=torch.float64)
        return cls(torch.cat([torch.ones(1, dtype=torch.float64), (1 - noise).cumprod(0)]))

    @property
    def steps(self) -> int:
        return len(self.kept) - 1

    def noise(self, t: int) -> float:
        """beta_t: the variance that step t adds."""
        return 1 - float(self.kept[t] / self.kept[t - 1])

    def deviation(self, t: int, variance: Variance) -> float:
        """Standard deviation of the noise of a step back from t."""
        added = self.noise(t)
        if variance == "posterior":
            added *= float((1 - self.kept[t - 1]) / (1 - self.kept[t]))
        return added**0.5

    def back(self, x: Tensor, clean: Tensor, t: int) -> Tensor:
        """Mean of a step back from x_t, given the data or an estimate (algorithm 2, line 4)."""
        kept, added = float(self.kept[t]), self.noise(t)
        eps = (x - kept**0.5 * clean) / (1 - kept) ** 0.5
        mean: Tensor = (x - added / (1 - kept) ** 0.5 * eps) / (1 - added) ** 0.5
        return mean

    def sample(
        self, x: Tensor, denoise: Denoiser, variance: Variance, draw: Callable[[], Tensor]
    ) -> Tensor:
        """Sample the data from x_N (algorithm 2)."""
        for t in range(self.steps, 0, -1):
            x = self.back(x, denoise(x, t), t)
            if t > 1:
                x = x + self.deviation(t, variance) * draw()
        return x


@dataclass(frozen=True)
class Gaussian:
    """Data from N(mean, deviation^2), whose best denoiser is known."""

    mean: float
    deviation: float

    def denoise(self, x: Tensor, slope: float, variance: float) -> Tensor:
        """E[x_0 | x] for x = slope x_0 + N(0, variance)."""
        gain = slope * self.deviation**2 / (slope**2 * self.deviation**2 + variance)
        estimate: Tensor = self.mean + gain * (x - slope * self.mean)
        return estimate

    def denoiser(self, process: Ddpm) -> Denoiser:
        def denoise(x: Tensor, t: int) -> Tensor:
            kept = float(process.kept[t])
            return self.denoise(x, kept**0.5, 1 - kept)

        return denoise

    def sampled(self, process: Ddpm, variance: Variance) -> tuple[float, float]:
        """Mean and standard deviation of what `Ddpm.sample` gives from N(0, 1), in closed form.

        Each step back is linear in x, so a Gaussian stays one.
        """
        denoise = self.denoiser(process)
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        mean, spread = 0.0, 1.0
        for t in range(process.steps, 0, -1):
            at_zero, at_one = process.back(ends, denoise(ends, t), t).tolist()
            slope = at_one - at_zero
            added = process.deviation(t, variance) ** 2 if t > 1 else 0.0
            mean, spread = at_zero + slope * mean, slope**2 * spread + added
        return mean, spread**0.5
