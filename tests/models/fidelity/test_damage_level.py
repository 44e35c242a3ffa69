"""What is measured of a whole frame besides its noise: the marks of coding and enlarging."""

import cv2
import numpy as np
import pytest
import torch

from models.fidelity.damage_level import FEATURES, Nearest, coding_features, damage_level
from models.fidelity.predicted_error import ERROR_BLOCK, error_scale, predicted_error

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


def test_an_error_is_told_on_its_scale() -> None:
    for error in (0.0, 1.5, 40.0):
        plane = error_scale(torch.full((48, 64), error / 255))
        assert predicted_error(plane) == pytest.approx(error, abs=1e-3)
    most = error_scale(torch.full((6 * ERROR_BLOCK, 6 * ERROR_BLOCK), 3 / 255))
    most[:ERROR_BLOCK, : 4 * ERROR_BLOCK] = 2.0  # one defect says nothing of the frame
    assert predicted_error(most) == pytest.approx(3, abs=1e-3)
