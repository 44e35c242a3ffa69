"""Film in a gate: weave, jumps and lost frames."""

import numpy as np
import pytest

from models.damage.transport import gate_weave, jumps, lost_frames
from tests.support.media.pictures import lag_one, rng, scene


def ramp(frames: int, axis: int, size: int = 32) -> np.ndarray:
    """A clip whose level is the column (axis 1) or the row (axis 0)."""
    place = np.indices((size, size), np.float32)[axis]
    return np.repeat(np.repeat(place[None, ..., None], frames, 0), 3, 3)


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
