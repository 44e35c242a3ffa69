"""The sampler beside its reference, denoising diffusion, on data whose best denoiser is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.network import bridge
from tests.support.ddpm import Ddpm, Gaussian, Variance

DATA = Gaussian(0.3, 0.7)
SAMPLES = 20_000


def drawn(seed: int = 3, count: int = SAMPLES) -> Callable[[], Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(count, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize("steps", [5, 50])
def test_the_reference_samples_what_the_closed_form_says(steps: int, variance: Variance) -> None:
    process, draw = Ddpm.linear(steps, 1e-3, 0.3), drawn()
    found = process.sample(draw(), DATA.denoiser(process), variance, draw)
    mean, deviation = DATA.sampled(process, variance)
    assert float(found.mean()) == pytest.approx(mean, abs=4 * deviation / SAMPLES**0.5)
    assert float(found.std()) == pytest.approx(deviation, rel=4 / (2 * SAMPLES) ** 0.5)


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_with_the_papers_schedule_the_samples_are_the_data(variance: Variance) -> None:
    mean, deviation = DATA.sampled(Ddpm.linear(1000), variance)
    assert (mean, deviation) == pytest.approx((DATA.mean, DATA.deviation), abs=5e-3)


def test_each_variance_is_exact_for_the_data_that_the_paper_names() -> None:
    """Section 3.2: beta for standard normal data, the posterior's variance for a single point."""
    few = Ddpm.linear(7, 1e-6, 0.6)  # the last step draws no noise, so it has hardly any
    assert Gaussian(0.0, 1.0).sampled(few, "beta") == pytest.approx((0.0, 1.0), abs=1e-6)
    assert Gaussian(0.4, 0.0).sampled(few, "posterior") == pytest.approx((0.4, 0.0), abs=1e-12)
    assert Gaussian(0.0, 1.0).sampled(few, "posterior")[1] < 0.97


def bridged(steps: int, kappa: float) -> Ddpm:
    """The diffusion whose steps are those of a bridge, but for a factor.

    x_t / sqrt(alpha-bar_t) = x_0 + N(0, kappa^2 t): a bridge whose ends are the same picture.
    """
    times = torch.arange(steps + 1, dtype=torch.float64) / steps
    return Ddpm(1 / (1 + kappa**2 * times))


@pytest.mark.parametrize("t", [2, 5, 8])
def test_a_step_of_the_bridge_is_a_step_of_the_reference(t: int) -> None:
    process, kappa, draw = bridged(8, 0.6), 0.6, drawn(4, 50)
    x, clean, eps = draw(), draw(), draw()
    there = process.back(x, clean, t) + process.deviation(t, "posterior") * eps
    before, after = process.kept[t - 1] ** 0.5, process.kept[t] ** 0.5
    here = bridge.posterior(x / after, clean, t / 8, (t - 1) / 8, kappa, eps)
    assert torch.allclose(here, there / before, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 12])
def test_the_sampler_gives_the_samples_of_the_reference(steps: int) -> None:
    """From nearly pure noise: both get the same start, noise and denoiser."""
    kappa, size = 40.0, (200, 200)
    process = bridged(steps, kappa)
    z_d = torch.zeros(1, 1, *size, dtype=torch.float64)

    def denoise(z_t: Tensor, t: Tensor) -> Tensor:
        return DATA.denoise(z_t, 1.0, kappa**2 * float(t[0]))

    ours = bridge.sample(denoise, z_d, steps, kappa, bridge.Noise(5, size))
    noise = bridge.Noise(5, size)
    last = process.kept[-1] ** 0.5
    start = last * (z_d + kappa * noise.like(z_d))
    theirs = process.sample(start, DATA.denoiser(process), "posterior", lambda: noise.like(z_d))
    assert torch.allclose(ours, theirs, atol=1e-9)
    mean, deviation = DATA.sampled(process, "posterior")
    assert float(ours.mean()) == pytest.approx(mean, abs=4 * deviation / 200 + 1e-6)
    assert float(ours.std()) == pytest.approx(deviation, rel=4 / (2 * 200**2) ** 0.5 + 1e-3)


def test_more_steps_of_the_sampler_come_nearer_to_the_data() -> None:
    """One step gives the mean, nearly without spread; no number of steps exceeds the data's."""
    spread = [DATA.sampled(bridged(steps, 40.0), "posterior")[1] for steps in (1, 8, 64, 512)]
    assert spread == sorted(spread)
    assert spread[0] < 0.02 and 0.2 < spread[-1] < DATA.deviation
