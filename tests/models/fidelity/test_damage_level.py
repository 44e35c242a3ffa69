"""Damage levels of a whole frame: its noise, and the marks of coding and enlarging."""

import math

import cv2
import numpy as np
import pytest
import torch

from models.fidelity.damage_level import (
    FEATURES,
    Nearest,
    coding_features,
    damage_level,
    noise_level,
)
from tests.support.networks import moving, noisy_window

NEAR, GRID = 0, slice(10, 12)  # detail at full over half size; the grid across and down


def picture(height: int = 128, width: int = 176) -> np.ndarray:
    """Texture of all scales with edges, (H, W) float32 in code values."""
    rng = np.random.default_rng(4)
    scales = [
        cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), s) for s in (0.5, 1, 2, 6)
    ]
    mixed = sum(one / one.std() for one in scales)
    mixed[:, width // 3 :] += 2
    return np.clip(128 + 16 * mixed, 0, 255).astype(np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Coded in blocks of 8x8."""
    _, data = cv2.imencode(
        ".jpg", np.rint(image).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(np.float32)


def measured(*images: np.ndarray) -> list[torch.Tensor]:
    return list(coding_features(torch.from_numpy(np.stack(images))[:, None]))


def test_a_grid_of_blocks_is_seen_at_any_phase() -> None:
    clean = picture()
    coded = jpeg(clean, 12)
    free, aligned, moved = measured(clean[:120, :168], coded[:120, :168], coded[3:123, 5:173])
    assert free[GRID].max() < 0.5
    assert (aligned[GRID] > free[GRID] + 0.5).all()
    torch.testing.assert_close(moved[GRID], aligned[GRID], rtol=0, atol=0.3)


def test_the_grid_grows_with_the_compression() -> None:
    weak, strong = (measured(jpeg(picture(), quality))[0][GRID] for quality in (40, 8))
    assert (strong > weak).all()


def test_enlarging_takes_fine_detail_before_coarse() -> None:
    sharp = picture()
    small = cv2.resize(sharp, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, sharp.shape[::-1], interpolation=cv2.INTER_CUBIC)
    before, after = measured(sharp, soft)
    assert after[NEAR] < before[NEAR] - 1  # half a stop in log2, times two


def test_frames_are_measured_one_by_one() -> None:
    first, second = picture(), jpeg(picture(), 15)
    together = measured(first, second)
    for one, alone in zip(together, (measured(first)[0], measured(second)[0]), strict=True):
        torch.testing.assert_close(one, alone)


@pytest.mark.parametrize(("height", "width"), [(12, 40), (16, 16), (50, 11)])
def test_small_frames_have_levels_too(height: int, width: int) -> None:
    window, trust = torch.rand(2, 5, 3, height, width), torch.ones(2, 4, height, width)
    levels = damage_level(Nearest.of(window, trust))
    assert levels.shape == (2, FEATURES) and torch.isfinite(levels).all()


def test_a_flat_frame_has_no_marks() -> None:
    levels = measured(np.full((64, 64), 90, np.float32))[0]
    assert torch.isfinite(levels).all() and levels[GRID].max() == 0


def level_of(window: torch.Tensor, trust: torch.Tensor) -> float | None:
    level = float(noise_level(Nearest.of(window[None], trust[None])))
    return None if math.isnan(level) else level


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0])
def test_noise_is_measured_whatever_stands_beside_the_picture(sigma: float, bars: bool) -> None:
    level = level_of(*moving(sigma, bars))
    assert level is not None
    assert 0.85 < level / sigma < 1.02  # a low quantile


def test_noise_without_a_match_is_not_known() -> None:
    window, trust = moving(5.0)
    assert level_of(window, 0 * trust) is None
    assert level_of(0 * window, trust) is None


def test_damage_levels_separate_noise_from_texture() -> None:
    levels = [damage_level(Nearest.of(*noisy_window(sigma)))[0] for sigma in (0.0, 5.0, 25.0)]
    code_values = [2 ** (4 * level[:3]) - 1 for level in levels]
    assert code_values[0].max() < 0.01  # texture that is the same in all frames is no noise
    # luma is the mean of three channels, a difference has twice the variance of a frame
    expected = 5 * (2 / 3) ** 0.5
    assert code_values[1][1] == pytest.approx(expected, rel=0.05)
    assert code_values[2][1] == pytest.approx(5 * expected, rel=0.05)
    assert code_values[1][0] < code_values[1][1] < code_values[1][2]
    assert [float(level[4]) for level in levels] == [1, 1, 1]
    assert levels[0][3] > levels[0][1]  # within the frame texture is seen


def test_damage_levels_show_that_there_is_no_match() -> None:
    level = damage_level(Nearest.of(*noisy_window(5.0, match=False)))[0]
    assert level[:3].abs().max() == 0 and level[4] == 0 and level[3] > 0
    assert torch.isfinite(level).all()
