"""Grain and noise: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.noise import shot_noise, speckle
from models.damage.simulator import (
    DEGRADATIONS,
    random_stream,
)
from tests.support.media.pictures import grey, rng


def test_shot_noise_is_poisson() -> None:
    for level in (40, 160):
        noisy = shot_noise(grey(level), rng(), 200)
        assert noisy.mean() == pytest.approx(level, rel=0.01)
        assert noisy.var() == pytest.approx(255 * level / 200, rel=0.02)


def test_speckle_is_in_proportion_to_the_light() -> None:
    for level in (0, 50, 200):
        noise = speckle(grey(level), rng(), 0.1, 0.6) - level
        assert noise.std() == pytest.approx(0.1 * level, rel=0.03)
        assert np.ptp(noise, axis=3).max() < 1e-3  # of the light, not of a channel


@pytest.mark.parametrize("sigma_px", [0.2, 0.6, 1.1])
def test_grain_has_its_strength_at_any_size(sigma_px: float) -> None:
    rng = random_stream(0, "grain")
    noise = DEGRADATIONS["grain"](grey(), rng, 14, 1, 0, sigma_px, 0) - 128
    assert noise.std() == pytest.approx(14, rel=0.05)
    assert np.ptp(noise, axis=3).max() < 1e-3  # luma grain only


def test_grain_is_strongest_in_the_midtones() -> None:
    sd = {}
    for value in (10, 128, 245):
        rng = random_stream(0, "grain")
        sd[value] = (DEGRADATIONS["grain"](grey(value), rng, 10, 0.5, 2, 0.5, 0) - value).std()
    light = 128 / 255
    assert sd[128] == pytest.approx(10 * (0.5 + 2 * light * (1 - light)), rel=0.05)
    assert max(sd[10], sd[245]) < 0.7 * sd[128]


def test_larger_grain_is_more_correlated() -> None:
    def neighbours(sigma_px: float) -> float:
        noise = (
            DEGRADATIONS["grain"](grey(), random_stream(0, "grain"), 14, 1, 0, sigma_px, 0) - 128
        )
        return np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]

    assert neighbours(0.2) < 0.02 < neighbours(0.5) < neighbours(0.8) < neighbours(1.1)
