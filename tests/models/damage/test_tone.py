"""Changes of film's light and colour: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.simulator import (
    DEGRADATIONS,
    random_stream,
)
from models.damage.tone import LUMA_601, colour_cast, fading, flicker_field, monochrome
from tests.support.media.pictures import grey, lag_one, rng, scene


def test_the_field_of_flicker_has_its_deviation_memory_and_no_mean() -> None:
    field = flicker_field(grey(100, frames=1500, size=24), rng(), 0.06, 0.6)[..., 0] / 100 - 1
    assert field.std() == pytest.approx(0.06, rel=0.05)
    assert np.abs(field.mean((1, 2))).max() < 1e-3
    assert lag_one(field[:, ::8, ::8]) == pytest.approx(0.6, abs=0.04)
    assert np.abs(np.diff(field, axis=2)).std() < 0.2 * field.std()  # no edges


def test_fading_takes_density_from_one_layer() -> None:
    faded = fading(grey(64, frames=2), rng(), 0.4, 0, 0, fog=0, saturation=1, drift=0)
    density = np.log(faded / 255) / np.log(64 / 255)
    assert np.allclose(density[..., 0], 0.6, atol=1e-3)  # cyan holds red back
    assert np.allclose(density[..., 1:], 1, atol=1e-3)


def test_fading_lifts_black_and_pulls_colours_to_grey() -> None:
    colours = scene(3).astype(np.float32)
    faded = fading(colours.copy(), rng(), 0, 0, 0, fog=20, saturation=0.5, drift=0)
    lifted = 20 + colours * 235 / 255
    assert np.allclose(faded @ LUMA_601, lifted @ LUMA_601, atol=0.01)
    away = np.abs(lifted - (lifted @ LUMA_601)[..., None]).mean()
    assert np.abs(faded - (faded @ LUMA_601)[..., None]).mean() == pytest.approx(away / 2, rel=0.01)
    drifting = fading(grey(64, frames=400, size=2), rng(), 0.3, 0.3, 0.3, 0, 1, drift=0.002)
    lost = 1 - np.log(drifting[:, 0, 0] / 255) / np.log(64 / 255)
    assert np.diff(lost, axis=0).std() == pytest.approx(0.002, rel=0.1)


def test_a_colour_cast_has_its_gains_offsets_and_gammas() -> None:
    def spread(level: float, **params: float) -> np.ndarray:
        none = {"gain_sd": 0.0, "offset_sd": 0.0, "gamma_sd": 0.0}
        casts = [
            colour_cast(grey(level, 1, 2), rng(seed), **none | params)[0, 0, 0]
            for seed in range(300)
        ]
        return np.array(casts)

    assert (spread(200, gain_sd=0.1) / 200).std() == pytest.approx(0.1, rel=0.1)
    assert spread(0, offset_sd=6).std() == pytest.approx(6, rel=0.1)
    gammas = np.log(spread(64, gamma_sd=0.08) / 255) / np.log(64 / 255)
    assert gammas.std() == pytest.approx(0.08, rel=0.1)
    wander = colour_cast(grey(200, 4000, 1), rng(), 0, 0, 0)[:, 0, 0, 0] / 200
    assert wander.std() == pytest.approx(0.01, rel=0.2) and lag_one(wander) > 0.9


def test_monochrome_keeps_luma_and_nothing_else() -> None:
    clip = scene(2).astype(np.float32)
    plain, brown = (monochrome(clip.copy(), rng(), sepia) for sepia in (0, 1))
    assert np.ptp(plain, axis=3).max() < 1e-3
    for toned in (plain, brown):
        assert np.allclose(toned @ LUMA_601, clip @ LUMA_601, atol=0.01)
    middle = brown[np.abs(clip @ LUMA_601 - 128) < 3]
    assert (middle[:, 0] - middle[:, 2]).mean() == pytest.approx(48, abs=0.5)  # 18 + 30


def test_flicker_has_its_deviation_and_memory() -> None:
    clip = grey(100, frames=4000, size=2)
    gains = (
        DEGRADATIONS["flicker"](clip, random_stream(1, "flicker"), 0.06, 0, 0.5)[:, 0, 0, 0] / 100
    )
    assert gains.std() == pytest.approx(0.06, rel=0.08)
    assert np.corrcoef(gains[1:], gains[:-1])[0, 1] == pytest.approx(0.5, abs=0.06)
    clip = grey(100, frames=4000, size=2)
    curve = DEGRADATIONS["flicker"](clip, random_stream(1, "flicker"), 0, 0.06, 0)[:, 0, 0, 0] / 255
    log_gamma = np.log(np.log(curve) / np.log(100 / 255))
    assert log_gamma.std() == pytest.approx(0.06, rel=0.08)
