"""Dirt that stands still is drawn where the scene passes behind it, and nowhere else."""

import cv2
import numpy as np
import pytest

from models.damage.simulator import PRESETS, age, random_stream
from models.damage.standing import passes_behind, standing_dirt

FRAMES, SIDE, STEP = 12, 160, 5


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """A textured picture, wider than a frame by what a pan needs."""
    noise = np.random.default_rng(1).uniform(0, 255, (SIDE, SIDE + FRAMES * STEP))
    return 110 + 5 * (cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 3) - 128)


def pan(wide: np.ndarray, step: int) -> np.ndarray:
    luma = np.stack([wide[:, at * step : at * step + SIDE] for at in range(FRAMES)])
    return np.repeat(luma[..., None], 3, 3)


def test_it_stands_still_in_a_pan(wide: np.ndarray) -> None:
    clean = pan(wide, STEP)
    dirty = standing_dirt(clean.copy(), random_stream(2, "d"), count=4, gate_share=0)
    mask = np.abs(dirty - clean).max(3) > 1
    assert mask[0].sum() > 100
    assert (mask[0] & mask[-1]).sum() > 0.8 * mask[0].sum()


def test_dirt_in_the_gate_is_at_an_edge_and_trembles(wide: np.ndarray) -> None:
    clean = pan(wide, STEP)
    dirty = standing_dirt(clean.copy(), random_stream(3, "d"), count=4, gate_share=1)
    change = (dirty - clean).mean(3)
    rows, columns = np.nonzero(np.abs(change).max(0) > 1)
    inward = np.minimum.reduce([rows, columns, SIDE - 1 - rows, SIDE - 1 - columns])
    assert len(rows) and np.median(inward) < 0.2 * SIDE
    mask = change < -1
    assert (mask[0] != mask[5]).any() and (mask[0] & mask[5]).any()


@pytest.mark.parametrize("step", [0, 1])
def test_where_the_scene_stands_or_moves_too_little_none_is_drawn(
    wide: np.ndarray, step: int
) -> None:
    clean = pan(wide, step)
    assert (standing_dirt(clean.copy(), random_stream(2, "d"), radius_px=(8, 9)) == clean).all()


def test_where_only_a_thing_passes_none_is_drawn(wide: np.ndarray) -> None:
    """The scene behind the dirt is then not shown by other frames."""
    still = pan(wide, 0)
    for at in range(4):
        still[at, 60:100, 20 * at : 20 * at + 40] = pan(wide, 0)[0, :40, 100:140]
    assert not passes_behind(still.mean(3), 80, 60, 12)


def test_a_preset_has_it_and_its_mask(wide: np.ndarray) -> None:
    clip = np.clip(pan(wide, STEP), 0, 255).astype(np.uint8)
    seed = next(
        seed
        for seed in range(40)
        if age(clip[:2], "soiled_train", seed).severity.get("standing_dirt.count")
    )
    aged = age(clip, "soiled_train", seed)
    assert aged.masks["standing"].all(0).any()
    assert "standing_dirt" in {slot.name for slot in PRESETS["soiled_train"]}
