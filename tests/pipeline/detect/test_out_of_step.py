"""Frames told apart by their blocks: as a plain reference does it, in moving and still scenes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detect.out_of_step import BLOCK, CLEARLY, ENOUGH, MOVING, NEARER, STILL, out_of_step
from tests.support.media.scenes import sharp_scene

Frame = np.ndarray


def blocks_of(luma: Frame) -> Frame:
    """The pixels of each block: (blocks, pixels)."""
    high, wide = (side // BLOCK for side in luma.shape)
    whole = luma[: high * BLOCK, : wide * BLOCK].reshape(high, BLOCK, wide, BLOCK)
    return whole.transpose(0, 2, 1, 3).reshape(high * wide, -1).astype(np.float64)


def reference(source: Frame, restored: Frame, one: Frame, other: Frame) -> float:
    """The share of the moving blocks that look like another frame, without any short cut."""

    def apart(a: Frame, b: Frame) -> Frame:
        return (blocks_of(a) - blocks_of(b)).var(axis=1)

    def share(a: Frame, b: Frame) -> Frame:
        change = blocks_of(a) - blocks_of(b)
        return (np.square(change - np.median(change, axis=1, keepdims=True)) > STILL).mean(axis=1)

    pairs = (source, one), (source, other), (one, other)
    moved = np.min([apart(*pair) for pair in pairs], axis=0)
    much = np.min([share(*pair) for pair in pairs], axis=0) >= MOVING
    mine = apart(restored, source)
    nearest = np.minimum(apart(restored, one), apart(restored, other))
    known = much & (moved > np.maximum(CLEARLY * np.minimum(mine, nearest), STILL))
    if np.count_nonzero(known) < max(ENOUGH * known.size, 4):
        return np.nan
    return float((mine > NEARER * nearest)[known].mean())


def dirty(luma: Frame, seed: int) -> Frame:
    rng, made = np.random.default_rng(seed), luma.copy()
    for y, x in rng.integers(0, np.array(luma.shape) - 6, (30, 2)):
        made[y : y + 5, x : x + 4] = 250
    return made


@pytest.mark.parametrize("shape", [(120, 160), (97, 131)])
@pytest.mark.parametrize("noise", [0, 3])
def test_the_share_is_that_of_the_reference(shape: tuple[int, int], noise: float) -> None:
    rng = np.random.default_rng(5)
    moving = [
        (luma[: shape[0], : shape[1]] + rng.normal(0, noise, shape)).astype(np.float32)
        for luma in sharp_scene(1, 3)
    ]
    last, source, following = moving
    still = [dirty(source, seed) for seed in range(3)]
    half = source.copy()
    half[: shape[0] // 2] = following[: shape[0] // 2]
    found = []
    for case in (
        (source, source, last, following),
        (source, source.copy(), last, following),
        (source, following, last, following),
        (source, half, last, following),
        (source, dirty(source, 4), last, following),
        (still[1], source, still[0], still[2]),
        (source, source, source, source),
    ):
        found.append(out_of_step(*case))
        assert found[-1] == pytest.approx(reference(*case), abs=1e-6, nan_ok=True), len(found)
    assert found[:2] == [0, 0] and found[2] > 0.9 and 0.2 < found[3] < 0.8
    assert np.isnan(found[-1])
