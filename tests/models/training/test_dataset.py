"""Training samples from a bank."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.frame_state import Image
from models.motion.alignment import OFFSETS, FlowFrame
from models.training.dataset import Bank, Mix

PLAIN = Mix(noise=0.0, clean=0.0, missing=0.0, broken_flow=0.0, still=0.0, pillarbox=0.0)


class Unaligned:
    """Neighbours as they are."""

    def neighbours(
        self, centre: FlowFrame, others: dict[int, FlowFrame]
    ) -> tuple[list[Image], Image]:
        return [others[k].image for k in OFFSETS], np.ones((4, *centre.luma.shape), np.float32)


def test_bare_samples_have_their_defects_and_nothing_else(bank: Path) -> None:
    mix = Mix(noise=0, clean=0, missing=0, broken_flow=0, still=0, pillarbox=0, bare=1)
    found = 0
    for step in range(6):
        batch = Bank([bank], 48, mix, 0).batch(step, 2)
        hit = batch.defects.expand(-1, 3, -1, -1) > 0
        change = (batch.window[:, 0] - batch.clean).abs()
        assert change[~hit].max() < 1e-5
        found += int(change[hit].gt(0.1).sum())
    assert found > 100


def test_fast_samples_take_every_second_frame(bank: Path, tmp_path: Path) -> None:
    """Frames of a bank that brightens by ten code values a frame."""
    for path in bank.glob("*.npy"):
        np.save(tmp_path / path.name, np.load(path))
    steady = np.zeros((3, 12, 96, 96, 3), np.uint8) + 10 * np.arange(12, dtype=np.uint8).reshape(
        1, 12, 1, 1, 1
    )
    np.save(tmp_path / "clean.npy", steady)
    for fast, step in ((0.0, 10), (1.0, 20)):
        data = Bank([tmp_path], 32, replace(PLAIN, clean=1.0, fast=fast), 0)
        data._aligner = Unaligned()  # type: ignore[assignment]
        levels = 255 * data.batch(0, 8).window.mean((2, 3, 4))  # the frame, -2, -1, 1, 2
        apart = (levels[:, 1:] - levels[:, :1]).abs()
        expected = torch.tensor([2.0 * step, step, step, 2 * step]).expand(8, 4)
        torch.testing.assert_close(apart, expected, rtol=0, atol=0.1)


def test_a_bank_of_short_sequences_has_no_fast_samples(bank: Path, tmp_path: Path) -> None:
    for path in bank.glob("*.npy"):
        np.save(tmp_path / path.name, np.load(path)[:, :6])
    fast = Bank([tmp_path], 32, replace(Mix(), fast=1.0), 0).batch(0, 4)
    assert torch.equal(fast.window, Bank([tmp_path], 32, Mix(), 0).batch(0, 4).window)


def test_prepared_sequences_are_steadier_and_keep_their_exposure(bank: Path) -> None:
    def pumping(frames: np.ndarray) -> float:
        return float(np.diff(frames.mean((2, 3, 4)), n=2, axis=1).std())

    damaged, levelled = np.load(bank / "damaged.npy"), np.load(bank / "levelled.npy")
    assert pumping(levelled) < 0.4 * pumping(damaged)
    assert np.abs(np.load(bank / "exposure.npy")[..., 0] - 1).max() < 0.2


def test_a_still_scene_keeps_its_damage_and_its_structure(bank: Path) -> None:
    """Damage differs from frame to frame, the scene does not, upright structure included."""
    mix = Mix(noise=1, sigma=(5, 5), missing=0, broken_flow=0, still=1, upright=1, pillarbox=0)
    moving = Bank([bank], 32, replace(mix, still=0.0), 3).batch(0, 8)
    still = Bank([bank], 32, mix, 3).batch(0, 8)
    error = (still.window - still.clean[:, None]).flatten(2).std(-1)  # (8, 5)
    assert error.max() < 1.5 * 5 / 255 and error[:, 0].min() > 0.5 * 5 / 255
    between = (still.window[:, 1] - still.window[:, 2]).abs().mean()
    assert between > 2 / 255  # the noise is not the same twice
    contrast = [batch.clean.mean(-2).diff(dim=-1).abs().amax() for batch in (moving, still)]
    assert contrast[1] > contrast[0]


def test_batches_depend_on_seed_and_step_only(bank: Path) -> None:
    first, again, other = (
        Bank([bank], 32, Mix(), 0),
        Bank([bank], 32, Mix(), 0),
        Bank([bank], 32, Mix(), 1),
    )
    first.batch(0, 2)
    a, b = first.batch(5, 2), again.batch(5, 2)
    assert torch.equal(a.window, b.window) and torch.equal(a.clean, b.clean)
    assert not torch.equal(a.window, other.batch(5, 2).window)
    assert a.window.shape == (2, 5, 3, 32, 32) and a.trust.shape == (2, 4, 32, 32)
    assert 0 <= float(a.clean.min()) and float(a.clean.max()) <= 1
