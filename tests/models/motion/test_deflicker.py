"""Flicker goes, motion and light stay, and shards see what the whole shot sees."""

import cv2
import numpy as np
import pytest
import torch

from models.frame_state import Curve, FrameState, number_frames
from models.motion import exposure_tensors
from models.motion.deflicker import (
    DEFLICKER_CONTEXT,
    DRIFT,
    LIGHT_REACH,
    PIVOT,
    RHO,
    Deflicker,
    fit_step,
    flickers,
    light_weights,
    region_levels,
    small_luma,
)
from models.motion.exposure_tensors import TensorExposure
from models.motion.flow import warp
from models.motion.tensors import Tensors
from tests.support.media.pictures import rng, texture

RNG = np.random.default_rng(0)
CPU = torch.device("cpu")


def deflickered(images: list[np.ndarray]) -> list[FrameState]:
    return list(Deflicker().run(number_frames(images)))


def test_tensors_measure_and_correct_alike(pan: list[np.ndarray]) -> None:
    """Step by step, curve by curve, and the picture; and what is late does not matter."""
    damaged = flickered(pan, 0.08)[:20]
    ours = deflickered(damaged)
    raised = Tensors(CPU).raised(number_frames(damaged))
    theirs = list(Deflicker(TensorExposure(Tensors(CPU))).run(raised))
    assert [frame.index for frame in ours] == [frame.index for frame in theirs]
    assert np.ptp([frame.curve.gain for frame in ours]) > 0.1
    for one, other in zip(ours, theirs, strict=True):
        assert other.curve.gain == pytest.approx(one.curve.gain, abs=0.02)
        assert other.curve.gamma == pytest.approx(one.curve.gamma, abs=0.02)
        assert other.on_device is not None
        image = one.curve(damaged[one.index])
        same = other.curve(damaged[one.index])
        picture = other.on_device.image.permute(1, 2, 0).numpy()
        assert np.abs(picture - same).max() < 1e-5 and 255 * np.abs(picture - image).mean() < 1
    early = TensorExposure(Tensors(CPU))
    early.late = 0
    raised = Tensors(CPU).raised(number_frames(damaged))
    assert [f.curve for f in Deflicker(early).run(raised)] == [f.curve for f in theirs]


def test_tensors_fit_a_step_as_the_cpu_does() -> None:
    draw = np.random.default_rng(5)
    x = draw.integers(0, 256, (40, 60)).astype(np.float32)
    y = (1.1 * x**1.05 + draw.normal(0, 3, x.shape)).astype(np.float32)
    matched = draw.random(x.shape) < 0.7
    for few in (matched, matched & (draw.random(x.shape) < 0.02)):
        a, log_b = exposure_tensors.fit_step(*(torch.from_numpy(p) for p in (x, y, few))).tolist()
        assert (a, log_b) == pytest.approx(fit_step(x[few], y[few]), abs=1e-4)
    assert fit_step(x[few], y[few]) == (0, 0) != fit_step(x[matched], y[matched])


@pytest.mark.parametrize("size", [(48, 64), (47, 65)])
def test_tensors_see_the_same_luma(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(6).random((*size, 3)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 1)
    ours, theirs = small_luma(image), exposure_tensors.small_luma(Tensors(CPU).picture(image))
    assert ours.shape == theirs.shape
    apart = np.abs(ours - theirs.numpy())[:-2, :-2]  # where a side is odd, its last lines differ
    assert apart.max() <= 1 and apart.mean() < 0.02


def flickered(frames: list[np.ndarray], sd: float) -> list[np.ndarray]:
    gains = np.exp(np.random.default_rng(1).normal(0, sd, len(frames)))
    return [
        np.clip(frame * gain, 0, 1).astype(np.float32)
        for frame, gain in zip(frames, gains, strict=True)
    ]


def means(frames: list[np.ndarray]) -> np.ndarray:
    return np.array([frame.mean() * 255 for frame in frames])


def test_flicker_is_removed_along_the_motion(pan: list[np.ndarray]) -> None:
    damaged = flickered(pan, 0.08)
    corrected = [frame.image for frame in deflickered(damaged)]
    error = means(corrected) - means(pan)
    assert len(corrected) == len(pan)
    assert error.std() < 0.4 * (means(damaged) - means(pan)).std()
    assert np.abs(np.diff(error)).max() < 3.0  # code values from frame to frame; damaged: above 20


def test_steady_footage_passes_almost_unchanged(pan: list[np.ndarray]) -> None:
    for frame in deflickered(pan):
        assert frame.curve.gain == pytest.approx(1, abs=0.02)
        assert np.abs(frame.image).max() <= 1.02


def test_flicker_is_found_and_motion_is_not(pan: list[np.ndarray]) -> None:
    def gate(frames: list[np.ndarray]) -> bool:
        return flickers(np.array([region_levels(small_luma(frame)) for frame in frames]))

    assert not gate(pan)
    assert gate(flickered(pan, 0.08))
    assert not gate(pan[:4])
    size = pan[0].shape
    jumping = []  # a large bright thing that is somewhere else in every frame
    for frame in pan:
        y, x = RNG.integers(0, 2, 2) * np.array(size[:2]) // 2
        jumping.append(frame.copy())
        jumping[-1][y : y + size[0] // 2, x : x + size[1] // 2] *= 2.5
    assert not gate(jumping)
    assert gate(flickered(jumping, 0.3))


def test_a_fade_is_no_flicker(pan: list[np.ndarray]) -> None:
    fade = [frame * np.float32(1 - i / 60) for i, frame in enumerate(pan)]
    corrected = [frame.image for frame in deflickered(fade)]
    inner = slice(10, 30)
    assert np.abs(means(corrected) - means(fade))[inner].max() < 2.5


def test_what_has_no_match_is_no_exposure(pan: list[np.ndarray]) -> None:
    """A third of the frame shows something else each time, and ever brighter."""
    frames, draw = [frame.copy() for frame in pan[:16]], rng(0)
    for i, frame in enumerate(frames):
        frame[:, 88:] = np.clip(texture(draw, 96, 40) * (0.6 + 0.06 * i), 0, 1)
    for frame in deflickered(frames):
        assert frame.curve.gain == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 3), (2, 9), (LIGHT_REACH, LIGHT_REACH)])
def test_the_light_is_weighed_best(before: int, after: int) -> None:
    """Light and flicker as they are modelled, drawn at random: even weights, and those around the
    best, err more.
    """
    rng, weights = np.random.default_rng(5), light_weights(before, after)
    assert weights.sum() == pytest.approx(1)
    count, draws = before + after + 1, 20_000
    light = np.cumsum(rng.normal(0, DRIFT**0.5, (draws, count)), 1)
    drawn = rng.normal(0, 1, (draws, count + 40))
    flicker = np.zeros_like(drawn)
    for k in range(1, drawn.shape[1]):
        flicker[:, k] = RHO * flicker[:, k - 1] + (1 - RHO**2) ** 0.5 * drawn[:, k]
    seen = light + flicker[:, 40:]

    def missed(weights: np.ndarray) -> float:
        return float(np.square(seen @ weights - light[:, before]).mean())

    best, even = missed(weights), np.full(count, 1 / count)
    assert best <= missed(even) + 1e-9
    for share in (-0.3, 0.3):
        other = weights + share * (np.eye(count)[before] - even)
        assert count == 1 or missed(other) > best


def test_steps_are_put_together_as_curves() -> None:
    """Gain and gamma of a still scene, drawn for each frame, come back as the curve of the light
    that all the frames tell of.
    """
    rng = np.random.default_rng(3)
    scene = np.repeat(texture(RNG, 96, 128)[..., :1], 3, -1)
    shifts, gammas = rng.normal(0, 0.05, 9), np.exp(rng.normal(0, 0.08, 9))
    logs = np.log(np.maximum(255 * scene, 1)) - PIVOT
    frames = [
        (np.exp(PIVOT + a + b * logs) / 255).astype(np.float32)
        for a, b in zip(shifts, gammas, strict=True)
    ]
    corrected = [frame.image for frame in deflickered(frames)]
    assert np.std(means(corrected)) < 0.06 * np.std(means(frames))
    for i, image in enumerate(corrected):
        weights, relative = light_weights(i, 8 - i), gammas / gammas[i]
        a, b = weights @ (shifts - relative * shifts[i]), np.exp(weights @ np.log(relative))
        expected = np.exp(PIVOT + a + b * (shifts[i] + gammas[i] * logs))
        assert np.abs(255 * image - expected).mean() < 0.5


def test_a_shard_with_context_equals_the_whole(pan: list[np.ndarray]) -> None:
    damaged = flickered(pan, 0.08)
    whole = [frame.image for frame in deflickered(damaged)]
    first, last = 16 - DEFLICKER_CONTEXT, 24 + DEFLICKER_CONTEXT
    part = [frame.image for frame in deflickered(damaged[first:last])]
    for i in range(16, 24):
        assert np.array_equal(part[i - first], whole[i])


def test_the_fit_ignores_outliers_and_is_symmetric() -> None:
    x = RNG.uniform(40, 200, 4000).astype(np.float32)
    y = np.exp(np.log(100) + 0.1 + 1.1 * (np.log(x) - np.log(100))).astype(np.float32)
    y[:400] = 30  # a passing defect
    a, log_b = fit_step(x, y)
    assert a == pytest.approx(0.1, abs=0.01)
    assert np.exp(log_b) == pytest.approx(1.1, abs=0.02)
    back_a, back_log_b = fit_step(y, x)
    assert back_log_b == pytest.approx(-log_b, abs=0.02)
    assert back_a < 0
    assert fit_step(np.zeros(100, np.float32), np.zeros(100, np.float32)) == (0.0, 0.0)


def test_a_curve_that_does_nothing_returns_the_frame(pan: list[np.ndarray]) -> None:
    assert Curve()(pan[0]) is pan[0]


def test_neighbours_keep_detail_of_four_pixels_between_their_pixels() -> None:
    """Half a pixel aside, bilinear interpolation leaves cos(45 degrees) of it, and the bicubic
    kernel, with a = -0.75, 0.97.
    """
    x = np.arange(64, dtype=np.float32)
    stripes = np.tile(np.sin(np.pi / 2 * x), (64, 1))
    aside = np.full((64, 64, 2), (0.5, 0), np.float32)
    expected = np.sin(np.pi / 2 * (x + 0.5))
    inner, kept = slice(8, -8), []
    for cubic in (False, True):
        found = warp(stripes, aside, cubic)[32]
        kept.append(float((found * expected)[inner].sum() / np.square(expected[inner]).sum()))
    assert kept[0] == pytest.approx(0.71, abs=0.01) and kept[1] == pytest.approx(0.97, abs=0.01)
