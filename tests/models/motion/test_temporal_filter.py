"""Restored frames lose what differs between them, and nothing that is right in one alone."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.frame_state import number_frames
from models.motion.opencv import softness
from models.motion.temporal_filter import FILTER_REACH, TemporalFilter

HEIGHT, WIDTH, SPEED = 96, 128, 2  # pixels, pixels a frame


def moving(sigma: float) -> list[np.ndarray]:
    """A texture, blurred by sigma pixels, that moves."""
    rough = np.random.default_rng(0).random((HEIGHT, 256, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), sigma)
    wide = 0.2 + 0.6 * (smooth - smooth.min()) / np.ptp(smooth)
    return [np.ascontiguousarray(wide[:, SPEED * i : SPEED * i + WIDTH]) for i in range(16)]


@pytest.fixture(scope="module")
def pan() -> list[np.ndarray]:
    return moving(2.0)


def filtered(
    images: list[np.ndarray], noise_weight: float = 0.0, shares: Sequence[float] | None = None
) -> list[np.ndarray]:
    frames = [
        replace(frame, noise_weight=noise_weight, filter_share=share)
        for frame, share in zip(number_frames(images), shares or [1.0] * len(images), strict=True)
    ]
    return [frame.image for frame in TemporalFilter().run(frames)]


def error(images: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Deviation in code values, away from the edges, where the pan brings what is new."""
    inner = np.s_[FILTER_REACH:-FILTER_REACH, 8:-8, 12:-12]
    return 255 * float((np.stack(images) - np.stack(truth))[inner].std())


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_every_frame_comes_back_in_order(pan: list[np.ndarray], count: int) -> None:
    found = filtered(pan[:count])
    assert len(found) == count
    for image, other in zip(found, pan, strict=False):
        assert image.shape == other.shape and image.dtype == np.float32
        assert 255 * np.abs(image - other)[8:-8, 12:-12].mean() < 0.7


def test_what_differs_from_frame_to_frame_is_averaged_away(pan: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    noisy = [image + rng.normal(0, 2 / 255, image.shape).astype(np.float32) for image in pan]
    assert error(filtered(noisy), pan) < 0.75 * error(noisy, pan)


def test_a_frame_is_filtered_as_far_as_it_may_be(pan: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    noisy = [image + rng.normal(0, 2 / 255, image.shape).astype(np.float32) for image in pan]
    wholly, shares = filtered(noisy), [1.0, 0.0, 0.25, *[1.0] * 13]
    found = filtered(noisy, shares=shares)
    for image, before, after, share in zip(found, noisy, wholly, shares, strict=True):
        np.testing.assert_allclose(image - before, share * (after - before), rtol=0, atol=1e-6)


def test_detail_keeps_its_contrast(pan: list[np.ndarray]) -> None:
    def detail(images: list[np.ndarray]) -> float:
        return float(
            np.square(np.diff(np.stack(images)[FILTER_REACH:-FILTER_REACH], axis=2)).mean()
        )

    assert 0.95 < detail(filtered(pan)) / detail(pan) < 1.1
    assert 1.2 < detail(filtered(pan, noise_weight=1.0)) / detail(pan) < 1.4  # it is soft
    crisp = moving(1.0)
    assert np.array_equal(filtered(crisp, noise_weight=1.0), filtered(crisp))


def test_softness_grows_with_blur(pan: list[np.ndarray]) -> None:
    measured = [softness(moving(sigma)[0]) for sigma in (0.6, 1.0, 1.2, 1.5)]
    assert measured == sorted(measured) and measured[0] == 0 < measured[2] < 1 == measured[-1]
    assert softness(np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)) == 0


@pytest.mark.parametrize(("scene", "most"), [("flash", 0.7), ("other", 2.0)])
def test_a_frame_that_agrees_with_none_is_left_alone(
    pan: list[np.ndarray], scene: str, most: float
) -> None:
    """Neither a flash nor a frame of another scene changes, nor their neighbours by them. Of smooth
    texture, which can be bent into any other, a little is mixed.
    """
    odd = np.clip(pan[7] + 0.3, 0, 1) if scene == "flash" else np.roll(pan[7][::-1], 50, 1)
    assert 255 * np.abs(odd - pan[7]).mean() > 15
    found = filtered([*pan[:7], np.ascontiguousarray(odd), *pan[8:]])
    sound = filtered(pan)
    assert 255 * np.abs(found[7] - odd).mean() < most
    for i in (5, 6, 8, 9):
        assert 255 * np.abs(found[i] - sound[i])[8:-8, 12:-12].mean() < 0.7


def test_what_is_in_one_frame_alone_is_not_drawn_into_others(pan: list[np.ndarray]) -> None:
    marked = [image.copy() for image in pan]
    marked[7][40:52, 60:72] = 1.0
    found, sound = filtered(marked), filtered(pan)
    for i in (5, 6, 8, 9):
        assert 255 * np.abs(found[i] - sound[i]).max() < 5
    assert 255 * np.abs(found[7] - marked[7])[43:49, 63:69].max() < 1.5


def test_a_part_with_context_equals_the_whole(pan: list[np.ndarray]) -> None:
    whole, part = filtered(pan), filtered(pan[5 - FILTER_REACH : 10 + FILTER_REACH])
    for i in range(5, 10):
        assert np.array_equal(part[i - 5 + FILTER_REACH], whole[i])
