"""Interlacing damage: which instants the fields show."""

import numpy as np
import pytest

from models.damage.interlacing import combing, field_blend, pulled_down, telecine, wrong_field_order
from tests.support.media.pictures import grey, rng


def numbered(frames: int = 10, height: int = 8) -> np.ndarray:
    """A clip whose level is the number of the frame."""
    levels = np.arange(frames, dtype=np.float32)[:, None, None, None]
    return levels * np.ones((1, height, 6, 3), np.float32)


def test_combing_weaves_the_next_picture_into_one_field() -> None:
    aged = combing(numbered(), rng(), lag=0.5)[..., 0, 0]
    lines = np.stack([aged[:-1, ::2].mean(1), aged[:-1, 1::2].mean(1)])
    assert sorted(np.ptp(lines - np.arange(9), axis=1)) == [0, 0]
    assert sorted((lines - np.arange(9)).mean(1)) == [0, 0.5]
    assert (aged[-1] == 9).all()
    later = {int(np.argmax(combing(numbered(), rng(s))[0, :2, 0, 0])) for s in range(20)}
    assert later == {0, 1}


def test_field_blend_mixes_the_next_picture_in() -> None:
    aged = field_blend(numbered(), rng(), 0.3)[:, 0, 0, 0]
    assert np.allclose(aged[:-1], np.arange(9) + 0.3)


def test_the_wrong_field_order_goes_back_and_forth() -> None:
    orders = {tuple(wrong_field_order(numbered(6), rng(s))[:, 0, 0, 0]) for s in range(20)}
    assert orders == {(1, 0, 3, 2, 5, 4), (0, 2, 1, 4, 3, 5)}
    ramp = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((4, 1, 6, 3), np.float32)
    assert np.allclose(wrong_field_order(ramp.copy(), rng())[:, 2:-2], ramp[:, 2:-2])
    texture = grey(0, 4) + rng().normal(100, 20, (4, 128, 128, 1)).astype(np.float32)
    swapped = wrong_field_order(texture.copy(), rng(3))[1:3]
    kept = [(swapped == texture[t]).all((2, 3)).mean() for t in (2, 1)]
    assert sum(kept) > 0 and max(kept) <= 0.51  # one field of each picture, the rest interpolated


def test_telecine_combs_two_frames_of_five_and_drops_one_instant() -> None:
    cadence = [tuple(pulled_down(t, field, 0) for field in (0, 1)) for t in range(5)]
    assert cadence == [(0, 0), (0, 1), (1, 2), (2, 2), (3, 3)]
    for seed in range(6):
        aged = telecine(numbered(40), rng(seed))[..., 0, 0]
        combed = aged[5:, 0] != aged[5:, 1]
        assert combed.mean() == pytest.approx(2 / 5)
        assert len(np.unique(aged[5:35])) == pytest.approx(30 * 4 / 5, abs=1)
        late = np.arange(40)[:, None] - aged
        assert late.min() >= 0 and late.max() <= 1
        fields = np.unique(aged[:, :2], return_counts=True)[1][2:-2]
        assert set(fields) == {2, 3}
