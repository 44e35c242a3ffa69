"""The bridge without weights: Gaussian data has a closed-form denoiser."""

import math

import pytest
import torch

from models.network import bridge

SD, SIGMA = 0.7, 0.4  # of clean data, of the degradation


def degraded(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    z = SD * torch.randn(n, 1, 1, 1, generator=rng)
    return z, z + SIGMA * torch.randn(n, 1, 1, 1, generator=rng)


def ideal(z_d: torch.Tensor, kappa: float) -> bridge.Denoiser:
    """E[z | z_t, z_d] for z ~ N(0, SD^2), z_d = z + N(0, SIGMA^2), by conjugacy."""

    def denoise(z_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = float(t[0])
        precision, weighted = 1 / SD**2 + 1 / SIGMA**2, z_d / SIGMA**2
        if kappa > 0 and time < 1:
            # z_t = (1-t) z + t z_d + kappa sqrt(t) eps observes z with this slope and variance
            slope, variance = 1 - time, kappa**2 * time
            precision += slope**2 / variance
            weighted = weighted + slope * (z_t - time * z_d) / variance
        return weighted / precision

    return denoise


def test_one_step_without_noise_is_the_posterior_mean() -> None:
    z, z_d = degraded(20_000)
    restored = bridge.sample(ideal(z_d, 0.0), z_d, 1, 0.0, bridge.Noise(1, (1, 1)))
    wiener = SD**2 / (SD**2 + SIGMA**2) * z_d
    assert torch.allclose(restored, wiener, atol=1e-6)
    assert float((restored - z).square().mean()) < float((z_d - z).square().mean())


@pytest.mark.parametrize("steps", [8, 32])
def test_many_steps_sample_the_posterior(steps: int) -> None:
    """With the ideal denoiser the walk restores the spread that one step averages away."""
    _, z_d = degraded(20_000)
    kappa = 0.6
    mean = SD**2 / (SD**2 + SIGMA**2) * z_d
    sampled = bridge.sample(ideal(z_d, kappa), z_d, steps, kappa, bridge.Noise(1, (1, 1)))
    spread = float((sampled - mean).std())
    posterior = SD * SIGMA / math.hypot(SD, SIGMA)
    assert 0.5 * posterior < spread < 1.1 * posterior  # a finite number of steps stays below it
    assert abs(float((sampled - mean).mean())) < 0.02


def test_posterior_of_the_bridge_matches_its_marginal() -> None:
    """Stepping t -> s with the true z gives the distribution of q(z_s | z, z_d) (ResShift,
    equation 7).
    """
    z, z_d, kappa, n = torch.tensor(0.3), torch.tensor(-0.5), 0.4, 100_000
    rng = torch.Generator().manual_seed(2)
    eps1, eps2 = (torch.randn(n, 1, 1, 1, generator=rng) for _ in range(2))
    z_t = bridge.noised(z, z_d, torch.full((n,), 0.8), kappa, eps1)
    z_s = bridge.posterior(z_t, z.expand_as(z_t), 0.8, 0.3, kappa, eps2)
    assert float(z_s.mean()) == pytest.approx(0.7 * 0.3 + 0.3 * -0.5, abs=0.005)
    assert float(z_s.std()) == pytest.approx(kappa * math.sqrt(0.3), rel=0.02)


def test_the_bridge_ends_where_it_should() -> None:
    z, z_d, eps = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    assert torch.equal(bridge.noised(z, z_d, torch.zeros(2), 0.2, eps), z)
    assert torch.allclose(bridge.noised(z, z_d, torch.ones(2), 0.0, eps), z_d)


def test_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="steps must be 1 or more"):
        bridge.sample(
            ideal(torch.zeros(1, 1, 1, 1), 0.0),
            torch.zeros(1, 1, 1, 1),
            0,
            0.0,
            bridge.Noise(0, (1, 1)),
        )
