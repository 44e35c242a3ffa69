"""Optics, tone, noise and transport of film: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.noise import shot_noise, speckle
from models.damage.optics import directed_blur, directed_kernel, sinc_ringing
from models.damage.processes import streaks
from models.damage.tone import LUMA_601, colour_cast, fading, flicker_field, monochrome
from models.damage.transport import gate_weave, jumps, lost_frames
from tests.support.pictures import grey, scene


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def lag_one(values: np.ndarray) -> float:
    return float(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1])


def ramp(frames: int, axis: int, size: int = 32) -> np.ndarray:
    """A clip whose level is the column (axis 1) or the row (axis 0)."""
    place = np.indices((size, size), np.float32)[axis]
    return np.repeat(np.repeat(place[None, ..., None], frames, 0), 3, 3)


def test_directed_blur_has_its_deviations_along_and_across() -> None:
    right = np.arange(-9, 10)
    kernel = directed_kernel(3, 1, 0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((kernel.sum(0) * right**2).sum()) == pytest.approx(3, rel=0.03)
    assert np.sqrt((kernel.sum(1) * right**2).sum()) == pytest.approx(1, rel=0.03)
    assert np.allclose(directed_kernel(3, 1, np.pi / 2), kernel.T, atol=1e-6)


def test_directed_blur_turns_slowly_and_keeps_the_light() -> None:
    clip = grey(0, frames=6, size=33)
    clip[:, 16, 16] = 1000
    spots = directed_blur(clip, rng(), 3, 0.3)[..., 0]
    assert np.allclose(spots.sum((1, 2)), 1000, rtol=1e-4)
    across = np.arange(33) - 16
    moment = np.einsum("tyx,y,x->t", spots, across, across) / 1000  # px^2, tells the direction
    assert 0 < np.abs(np.diff(moment)).max() < 1


@pytest.mark.parametrize("cutoff", [2 / 7, 2 / 5, 2 / 3])
def test_sinc_ringing_overshoots_by_a_tenth(cutoff: float) -> None:
    step = grey(50, frames=1)
    step[:, :, 64:] = 150
    line = sinc_ringing(step, rng(), cutoff, 30)[0, 64, :, 0]
    assert line.max() - 150 == pytest.approx(10, abs=2)  # a pixel lies on the crest
    assert 50 - line.min() == pytest.approx(10, abs=2)
    assert line[2] == pytest.approx(50, abs=1.5)
    assert np.allclose(sinc_ringing(grey(90), rng(), cutoff), 90, atol=0.01)


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


@pytest.mark.parametrize("axis", [0, 1])
def test_weave_has_its_deviation_and_memory(axis: int) -> None:
    clip = gate_weave(ramp(1500, axis), rng(), 0.8, 0.6, turn_deg=0, jump_chance=0)
    shift = axis * 16 + (1 - axis) * 16 - clip[:, 16, 16, 0]
    assert shift.std() == pytest.approx(0.8, rel=0.06)
    assert lag_one(shift) == pytest.approx(0.6, abs=0.06)


def test_the_gate_turns_the_picture_about_its_middle() -> None:
    clip = gate_weave(ramp(1000, 0, 41), rng(), 0, 0.5, turn_deg=1, jump_chance=0)
    slope = (clip[:, 20, 36, 0] - clip[:, 20, 4, 0]) / 32  # rows per column
    assert np.degrees(np.arctan(slope)).std() == pytest.approx(1, rel=0.07)
    assert np.abs(clip[:, 20, 20, 0] - 20).max() < 0.05


def test_jumps_are_rare_vertical_and_settle() -> None:
    path = jumps(20000, 8, 0.01, rng())
    leaps = np.abs(path) == 8
    assert leaps.mean() == pytest.approx(0.01, rel=0.15)
    assert (np.abs(path[1:]) == np.abs(path[:-1]) / 2)[~leaps[1:]].all()
    assert set(np.sign(path[leaps])) == {-1, 1}
    across = gate_weave(ramp(50, 1), rng(), 0, 0, 0, jump_px=4, jump_chance=0.2)
    down = gate_weave(ramp(50, 0), rng(), 0, 0, 0, jump_px=4, jump_chance=0.2)
    assert np.abs(across[:, 16, 16] - 16).max() < 0.05
    assert np.abs(down[:, 16, 16] - 16).max() == pytest.approx(4, abs=0.05)


def test_lost_frames_are_one_run_of_black_or_held_frames() -> None:
    clip = scene(9, 16, 24).astype(np.float32)
    lengths, black = [], 0
    for seed in range(300):
        aged = lost_frames(clip.copy(), rng(seed), 5, 0.4)
        lost = np.flatnonzero((aged != clip).any((1, 2, 3)))
        assert 1 <= lost[0] and (np.diff(lost) == 1).all()
        lengths.append(len(lost))
        dark = not aged[lost].any()
        assert dark or (aged[lost] == clip[lost[0] - 1]).all()
        black += dark
    assert set(lengths) == {1, 2, 3, 4, 5} and np.mean(lengths) == pytest.approx(3, abs=0.3)
    assert black / 300 == pytest.approx(0.4, abs=0.08)
    assert (lost_frames(clip[:1].copy(), rng()) == clip[:1]).all()


def test_streaks_have_unit_variance() -> None:
    assert streaks((200, 400), 5, 0.8, rng()).std() == pytest.approx(1, abs=0.05)
