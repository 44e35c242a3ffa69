"""Neighbours are warped onto the centre frame, and trusted where they match."""

import numpy as np
import pytest

from models.motion.alignment import OFFSETS, SPAN, Aligner, FlowFrame
from models.motion.flow import dis_flow, flow_search

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("preset", ["medium", "fine"])
def test_neighbours_are_brought_onto_the_centre(pan: list[np.ndarray], preset: str) -> None:
    centre, others = pan[10], {1: pan[11], 2: pan[12]}
    warped, trust = Aligner(preset).neighbours(
        FlowFrame.of(centre), {k: FlowFrame.of(image) for k, image in others.items()}
    )
    inner = (slice(8, -8), slice(8, -8))
    for k, offset in enumerate(OFFSETS):
        if offset in others:
            apart = np.abs(others[offset] - centre)[inner].mean()
            assert np.abs(warped[k] - centre)[inner].mean() < 0.2 * apart
            assert trust[k][inner].min() > 0.8
        else:
            assert warped[k] is centre and trust[k].max() == 0


class Counted:
    """A flow search that counts."""

    def __init__(self) -> None:
        self.real, self.calls = flow_search("fast"), 0

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        self.calls += 1
        return dis_flow(self.real, one, other)


def test_the_step_between_two_frames_is_found_once(
    pan: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows hold what later ones ask for, and no more of it however long the shot is."""
    search, frames = Counted(), [FlowFrame.of(image) for image in pan[:16]]
    aligner = Aligner("medium")
    monkeypatch.setattr(aligner, "_search", search)
    calls, held = [], []
    for i in range(SPAN, len(frames) - SPAN):
        around = {k: frames[i + k] for k in range(-SPAN, SPAN + 1) if k}
        aligner.neighbours(frames[i], around)
        calls.append(search.calls)
        held.append(sum(len(kept) for f in frames for kept in (f.steps, f.near, f.far)))
    assert set(np.diff(calls)[1:]) == {2}  # one step ahead and one back
    assert max(held) <= 14


def test_an_outer_neighbour_is_the_mean_of_the_frames_on_its_side(pan: list[np.ndarray]) -> None:
    noisy = [image + RNG.normal(0, 0.04, image.shape).astype(np.float32) for image in pan[:9]]

    def left(noisy: list[np.ndarray]) -> list[float]:
        frames = [FlowFrame.of(image) for image in noisy]
        others = {k - 4: frame for k, frame in enumerate(frames) if k != 4}
        warped, _ = Aligner("medium").neighbours(frames[4], others)
        return [float((image - pan[4])[8:-8, 24:-24].std()) for image in warped]

    far, near, _, ahead = left(noisy)
    assert 0.45 * near < far < 0.75 * near and 0.45 * near < ahead < 0.75 * near  # 1 / sqrt(3)
    strange = [np.roll(image, 40, 0) if k < 2 else image for k, image in enumerate(noisy)]
    alone, near, *_ = left(strange)
    assert 0.85 * near < alone < 1.5 * near  # what has no match counts little (wholly: 2.2)


def test_a_frame_two_away_is_matched_without_the_one_between(pan: list[np.ndarray]) -> None:
    centre, far = pan[10], pan[12]
    warped, trust = Aligner("medium").neighbours(FlowFrame.of(centre), {2: FlowFrame.of(far)})
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(warped[3] - centre)[inner].mean() < 0.2 * np.abs(far - centre)[inner].mean()
    assert trust[3][inner].min() > 0.8


def test_a_neighbour_with_a_blotch_is_not_trusted_there(pan: list[np.ndarray]) -> None:
    other = pan[11].copy()
    other[30:60, 40:70] = 1.0
    _, trust = Aligner("medium").neighbours(FlowFrame.of(pan[10]), {1: FlowFrame.of(other)})
    found = trust[OFFSETS.index(1)]
    assert found[38:52, 48:62].mean() < 0.5 < found[70:90, 90:120].mean()


def aligned_edge(pan: list[np.ndarray], dust: bool) -> tuple[np.ndarray, np.ndarray]:
    """The centre of a pan whose edges are half dark in every frame, and its nearest neighbour."""
    frames = [image.copy() for image in pan[9:12]]
    for image in frames:
        for line in (image[:, 0], image[:, -1], image[0], image[-1]):
            np.multiply(line, 0.4, out=line)
    if dust:
        frames[1][20:28, :6] = 1.0
    others = {-1: FlowFrame.of(frames[0]), 1: FlowFrame.of(frames[2])}
    warped, _ = Aligner("medium").neighbours(FlowFrame.of(frames[1]), others)
    return frames[1], warped[OFFSETS.index(1)]


def test_a_dark_line_at_an_edge_stays_while_the_picture_moves(pan: list[np.ndarray]) -> None:
    centre, warped = aligned_edge(pan, dust=False)
    apart = 255 * np.abs(warped - centre).mean(axis=2)
    lines = apart[8:-8, 0], apart[8:-8, -1], apart[0, 8:-8], apart[-1, 8:-8]
    assert max(line.mean() for line in lines) < 10


def test_dust_at_an_edge_is_not_in_the_neighbours(pan: list[np.ndarray]) -> None:
    centre, warped = aligned_edge(pan, dust=True)
    assert 255 * np.abs(warped - centre)[20:28, :6].mean() > 60
