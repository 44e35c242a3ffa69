"""Real things in motion, drawn on clean clips."""

import numpy as np
import pytest

from models.damage.simulator import random_stream
from models.damage.things import add_things, flash, limbs, lines, travelling
from tests.support.media.pictures import grey

PICTURE = np.random.default_rng(0).uniform(0, 255, (200, 200, 3)).astype(np.float32)


def marked(clip: np.ndarray) -> np.ndarray:
    """Pixels (T, H, W) that differ from grey by more than 10 code values."""
    return np.asarray(np.abs(clip - grey(frames=len(clip), size=clip.shape[1])).max(3) > 10)


def test_a_travelling_thing_is_in_consecutive_frames_on_a_path() -> None:
    found = 0
    for seed in range(12):
        clip = travelling(
            grey(frames=6, size=160), random_stream(seed, "things"), 1, (6, 10), (5, 6)
        )
        there = [np.argwhere(mask).mean(0) for mask in marked(clip) if mask.sum() > 60]
        if len(there) < 4:
            continue
        found += 1
        steps = np.diff(there, axis=0)
        assert np.linalg.norm(steps, axis=1).min() > 2
        assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 6
    assert found >= 3


def test_motion_blurs_a_thing() -> None:
    def area(speed: float) -> float:
        clip = travelling(
            grey(frames=5, size=200), random_stream(1, "t"), 6, (speed, speed + 1), (4, 5)
        )
        return float((np.abs(clip - 128) > 1).any(3).sum())

    assert area(40) > 1.3 * area(1)


@pytest.mark.parametrize("kind", [lines, limbs])
def test_lines_and_limbs_move_and_stay_in_the_picture(kind: object) -> None:
    clip = grey(frames=6, size=160)
    if kind is lines:
        lines(clip, random_stream(2, "t"), 3)
    else:
        limbs(clip, random_stream(2, "t"), [PICTURE], 3)
    masks = marked(clip)
    assert masks.any((1, 2)).sum() >= 4
    assert (masks[1:] != masks[:-1]).any()
    assert clip.min() >= 0 and clip.max() <= 255


def test_a_flash_is_one_frame() -> None:
    changed = (
        flash(grey(frames=6, size=64), random_stream(0, "f")) != grey(frames=6, size=64)
    ).any((1, 2, 3))
    assert changed.sum() == 1


def test_the_same_seed_gives_the_same_things() -> None:
    first, second = (
        add_things(grey(frames=4, size=96), random_stream(5, "things"), [PICTURE]) for _ in range(2)
    )
    assert np.array_equal(first, second)
