"""Tape, air and web damage: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.analogue import TO_RGB, TO_YCC
from models.damage.simulator import DEGRADATIONS, changed, random_stream
from tests.support.media.pictures import grey, scene


def apply(name: str, clip: np.ndarray, **params: object) -> np.ndarray:
    return DEGRADATIONS[name](clip.copy(), random_stream(1, name), **params)


def test_colour_matrices_are_those_of_rec_601() -> None:
    assert np.allclose(TO_YCC @ TO_RGB, np.eye(3), atol=1e-5)
    assert np.allclose(TO_YCC @ np.full(3, 77), [77, 0, 0], atol=1e-4)


def red_edge() -> np.ndarray:
    """Left grey, right as light but red: an edge in colour only, at column 64."""
    clip = grey(100, frames=2)
    clip[:, :, 64:] = (TO_RGB @ np.array([100, -17, 50], np.float32))[None]
    return clip


def test_tape_narrows_colour_more_than_light() -> None:
    def rise(line: np.ndarray) -> float:
        steps = np.abs(np.diff(line))
        at = np.arange(len(steps))
        centre = (steps * at).sum() / steps.sum()
        return float(np.sqrt((steps * (at - centre) ** 2).sum() / steps.sum()))

    aged = apply("bandwidth", red_edge(), luma_px=1, chroma_px=4, delay_px=0, ringing=0)
    assert rise((aged @ TO_YCC.T)[0, 40, :, 2]) == pytest.approx(4, abs=0.3)
    step = grey(40, frames=1)
    step[:, :, 64:] = 200
    aged = apply("bandwidth", step, luma_px=1, chroma_px=4, delay_px=0, ringing=0)
    assert rise(aged[0, 40, :, 0]) == pytest.approx(1, abs=0.15)
    rung = apply("bandwidth", step, luma_px=1, chroma_px=4, delay_px=0, ringing=0.8)
    assert rung.max() > 205 and aged.max() < 201


def test_colour_arrives_late() -> None:
    line = (apply("bandwidth", red_edge(), chroma_px=0.5, delay_px=3) @ TO_YCC.T)[0, 40, :, 2]
    assert 66 <= int(np.argmax(np.diff(line))) + 1 <= 68


def test_tape_noise_has_its_deviations_and_streaks() -> None:
    noise = (apply("tape_noise", grey(), luma=5, chroma=12, chroma_px=5) - 128) @ TO_YCC.T
    assert noise[..., 0].std() == pytest.approx(5, rel=0.05)
    assert noise[..., 2].std() == pytest.approx(12, rel=0.1)

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    colour = noise[..., 1]
    assert correlation(colour[:, :, 4:], colour[:, :, :-4]) > 0.8
    assert correlation(colour[:, 4:], colour[:, :-4]) < 0.1
    assert abs(correlation(colour[1:], colour[:-1])) < 0.1  # new in every frame


def test_line_jitter_moves_lines_and_changes_no_flat_picture() -> None:
    assert np.allclose(apply("line_jitter", grey(90)), 90)
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32)[:, None], (8, 128, 128, 3))
    shift = apply("line_jitter", ramp, jitter_px=0.5, wave_px=0)[:, :, 64, 0] - 64
    assert shift.std() == pytest.approx(0.5, rel=0.1)
    wave = apply("line_jitter", ramp, jitter_px=0, wave_px=1)[:, :, 64, 0] - 64
    assert wave.std() == pytest.approx(1, rel=0.1)
    assert np.abs(np.diff(wave, axis=1)).max() < 0.5


def test_dropouts_are_short_streaks_of_whole_lines() -> None:
    clip = scene(40, 144, 176).astype(np.float32)
    marked = changed(clip, apply("dropouts", clip, rate=8, length_px=(10, 40), repeat_share=0))
    assert marked.any(2).sum(1).mean() == pytest.approx(2 * 2, rel=0.35)  # rate/4 of 2 lines each
    assert 8 <= marked.sum(2)[marked.any(2)].mean() <= 45
    repeated = apply("dropouts", clip, rate=8, repeat_share=1)
    rows = changed(clip, repeated).any(2)
    assert rows.any() and set(np.unique(repeated)) <= set(np.unique(clip))  # nothing is painted


def test_head_switching_stays_in_the_last_lines() -> None:
    clip = scene().astype(np.float32)
    marked = changed(clip, apply("head_switching", clip, lines=5, shear_px=20))
    assert marked[:, -5:].mean() > 0.8 and not marked[:, :-5].any()


def test_a_ghost_is_the_picture_again_later_and_weaker() -> None:
    clip = grey(128, frames=1)
    clip[0, 60, 40] = 228
    seen = apply("ghost", clip, delay_px=10, gain=0.1)[0, 60, :, 0] - 128
    assert seen[40] == pytest.approx(100)
    assert abs(seen[50]) == pytest.approx(10, abs=0.1)


def test_a_hum_bar_has_its_strength_and_rolls() -> None:
    bars = apply("hum_bar", grey(100), strength=8, speed_px=4)[:, :, 0, 0] - 100
    assert bars.std() == pytest.approx(8 / np.sqrt(2), rel=0.02)
    assert np.allclose(np.roll(bars[0], -4), bars[1], atol=1e-3)


def test_low_resolution_loses_detail_and_no_level() -> None:
    assert np.allclose(apply("low_resolution", grey(90), scale=0.5), 90, atol=0.01)
    texture = apply("white_noise", grey(), sigma=20)
    small = apply("low_resolution", texture, scale=0.4, sharpen=0)
    assert small.std() < 0.6 * texture.std()
    assert small.mean() == pytest.approx(texture.mean(), abs=0.5)
