"""Grain stays: outside of repairs it is the source's own, inside them it matches the source's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.fidelity.grain import find_grain, keep_grain
from models.frame_state import FrameState

HEIGHT, WIDTH = 240, 320
SPOT = 12  # pixels: side of a repair
LEVELS = 4.0, 9.0  # code values of grain in the dark half and in the bright half


def grainy(seed: int) -> tuple[FrameState, NDArray[np.bool_]]:
    """A frame of two tones with soft grain and 70 spots that the network repaired; the spots."""
    rng = np.random.default_rng(seed)
    clean = np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)
    clean[:, WIDTH // 2 :] = 0.6
    noise = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.7)
    noise /= noise.std()
    noise[:, : WIDTH // 2] *= LEVELS[0] / 255
    noise[:, WIDTH // 2 :] *= LEVELS[1] / 255
    spots = np.zeros((HEIGHT, WIDTH), bool)
    for y in range(8, HEIGHT - SPOT, 32):
        for x in range(8, WIDTH - SPOT, 32):
            spots[y : y + SPOT, x : x + SPOT] = True
    source = clean + noise[..., None]
    source[spots] = 1.0
    state = FrameState(0, source, clean, defects=torch.from_numpy(spots.astype(np.float32)))
    return state, spots


def kept(state: FrameState, share: float) -> FrameState:
    return next(keep_grain(find_grain([state]), share))


def residual(state: FrameState, share: float) -> NDArray[np.float32]:
    """What is added to the clean picture, code values (H, W)."""
    added: NDArray[np.float32] = 255 * (kept(state, share).image - state.image)[..., 0]
    return added


def test_outside_of_repairs_the_source_stays_whole() -> None:
    state, spots = grainy(1)
    done = kept(state, 1.0)
    assert np.abs(done.image - state.source)[~spots].max() < 1e-6
    assert done.source_share == pytest.approx(1.0)


def test_grain_in_repairs_has_the_level_of_its_brightness_and_the_spectrum() -> None:
    added, spots = [], []
    for seed in range(8):
        state, places = grainy(seed)
        added.append(residual(state, 1.0))
        spots.append(places)
    left = np.arange(WIDTH)[None] < WIDTH // 2
    for half, level in ((left, LEVELS[0]), (~left, LEVELS[1])):
        inside = np.concatenate([a[s & half] for a, s in zip(added, spots, strict=True)])
        assert inside.std() == pytest.approx(level, rel=0.1)
    # the correlation of pixels side by side stands for the spectrum
    correlations = []
    for mask in (np.stack(spots), ~np.stack(spots)):
        both = mask[:, :, 1:] & mask[:, :, :-1] & left[:, 1:] & left[:, :-1]
        here, beside = np.stack(added)[:, :, 1:][both], np.stack(added)[:, :, :-1][both]
        correlations.append(float(np.corrcoef(here, beside)[0, 1]))
    assert correlations[0] == pytest.approx(correlations[1], rel=0.1)


def test_a_share_of_the_grain_stays() -> None:
    state, spots = grainy(2)
    assert np.abs(residual(state, 0.5)[~spots] - residual(state, 1.0)[~spots] / 2).max() < 1e-3
    assert residual(state, 0.5)[spots].std() == pytest.approx(
        residual(state, 1.0)[spots].std() / 2, rel=0.01
    )


def test_a_frame_that_is_repaired_everywhere_gets_no_grain() -> None:
    state, _ = grainy(3)
    state = FrameState(0, state.source, state.image, defects=torch.ones(HEIGHT, WIDTH))
    assert np.abs(kept(state, 1.0).image - state.image).max() == 0


def test_the_neighbours_fill_gets_grain_as_well() -> None:
    state, spots = grainy(4)
    filled = FrameState(
        0,
        state.source,
        state.image,
        defects=torch.zeros(HEIGHT, WIDTH),
        fill=spots.astype(np.float32),
    )
    assert residual(filled, 1.0)[spots].std() > LEVELS[0]
    assert np.abs(residual(filled, 1.0)[spots]).max() < 6 * LEVELS[1]  # not the spots themselves
