"""The bridge diffusion: from the clean latent z to the degraded latent z_d, and back.

z_t = (1 - t) z + t z_d + kappa sqrt(t) eps: the residual-shifting kernel of ResShift (Yue, Wang and
Loy, NeurIPS 2023, equation 1 with eta_t = t). Its endpoint is the degraded latent, as in I2SB (Liu
et al., ICML 2023). The network predicts z. With kappa = 0 the bridge is InDI (Delbracio and
Milanfar, TMLR 2023).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t, t (B,)) -> estimate of z


def noised(z: Tensor, z_d: Tensor, t: Tensor, kappa: Tensor | float, eps: Tensor) -> Tensor:
    """A sample of q(z_t | z, z_d) (ResShift, equation 1).

    t is (B,) in [0, 1]; kappa is a number or a map (B, 1, h, w).
    """
    t = t.view(-1, 1, 1, 1)
    z_t: Tensor = (1 - t) * z + t * z_d + kappa * t.sqrt() * eps
    return z_t


def posterior(
    z_t: Tensor, z0: Tensor, t: float, s: float, kappa: Tensor | float, eps: Tensor
) -> Tensor:
    """A sample of q(z_s | z_t, z0) for s < t.

    ResShift, equation 7 with eta_{t-1} = s and alpha_t = t - s.
    """
    mean = (s / t) * z_t + (1 - s / t) * z0
    deviation = (s * (t - s) / t) ** 0.5
    return mean + kappa * deviation * eps


class Noise:
    """Standard normal noise for the latent of a frame of ``size`` (h, w).

    It is drawn on the CPU, so that every device gets the same numbers. A tile that begins ``at``
    (y, x) gets its part of the frame's noise.
    """

    def __init__(self, seed: int, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._size, self._at = size, at

    def like(self, z: Tensor) -> Tensor:
        """The next noise, in the shape of a latent (B, C, h, w)."""
        whole = torch.randn(*z.shape[:2], *self._size, generator=self._generator)
        y, x = self._at
        part = whole[..., y : y + z.shape[-2], x : x + z.shape[-1]]
        return part.to(z.device, z.dtype)


def sample(
    denoise: Denoiser, z_d: Tensor, steps: int, kappa: Tensor | float, noise: Noise
) -> Tensor:
    """Sample z by a walk from t = 1 to 0 in ``steps`` equal steps.

    One step with kappa = 0 is the posterior mean E[z | z_d]. Raises ValueError for no steps.
    """
    times = [1 - k / steps for k in range(steps)] + [0.0]
    z_t = z_d
    if not isinstance(kappa, float) or kappa > 0:
        z_t = z_d + kappa * noise.like(z_d)
    for t, s in itertools.pairwise(times):
        z0 = denoise(z_t, torch.full((len(z_d),), t, device=z_d.device))
        if s == 0:
            return z0
        z_t = posterior(z_t, z0, t, s, kappa, noise.like(z_d))
    raise ValueError(f"steps must be 1 or more, got {steps}")
