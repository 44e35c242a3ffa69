"""Damage presets: their strength, and that none is left out."""

import numpy as np
import pytest

from models.damage.presets import PRESETS
from models.damage.simulator import (
    DEGRADATIONS,
    age,
    quantise,
)
from tests.support.media.pictures import grey, psnr, scene


def test_clean_is_untouched() -> None:
    clip = scene()
    assert (age(clip, "clean", 3).frames == clip).all()


def test_film_lands_in_the_band_of_the_test_mix() -> None:
    clip = scene(8, 224, 224)
    values = [psnr(age(clip, "film", seed).frames, clip) for seed in range(12)]
    assert 22 < np.mean(values) < 24.5
    assert min(values) > 19
    assert max(values) < 27


def test_training_damage_is_wider_than_the_test_damage() -> None:
    clip = scene(4)
    spread = {
        preset: np.std([psnr(age(clip, preset, seed).frames, clip) for seed in range(24)])
        for preset in ("film", "film_train")
    }
    assert spread["film_train"] > 2 * spread["film"]


def test_g25_is_white_noise_of_sigma_25() -> None:
    clip = quantise(grey())
    error = age(clip, "g25", 1).frames.astype(float) - clip
    assert error.std() == pytest.approx(25, rel=0.02)
    assert abs(np.corrcoef(error[:, :, 1:].ravel(), error[:, :, :-1].ravel())[0, 1]) < 0.01


def test_every_degradation_is_in_a_preset() -> None:
    used = {option.name for slots in PRESETS.values() for slot in slots for option in slot.options}
    assert used >= set(DEGRADATIONS)


def test_worn_and_scan_stay_watchable() -> None:
    clip = scene(6, 96, 128)
    for preset in ("worn", "scan"):
        results = [age(clip, preset, seed) for seed in range(16)]
        values = [psnr(aged.frames, aged.target) for aged in results]
        assert 17 < np.median(values) < 32
        assert min(values) > 6
        assert len({key for aged in results for key in aged.severity}) > 15
