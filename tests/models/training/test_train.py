"""Training: its samples, optimisers, resume and stages, at the size that trains in seconds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch

from jobs.training.train import main
from models.frame_state import Image
from models.motion.alignment import OFFSETS, FlowFrame
from models.network import checkpoint
from models.network.unet import NetworkOutput, RestorationNet
from models.training.dataset import Bank, Batch, Mix, prepare
from models.training.muon import UPDATE_RMS, Muon, is_kernel, orthogonal
from models.training.train import (
    PIXEL_LOSSES,
    TrainConfig,
    Trainer,
    learning_rate,
    load_config,
    loss_of,
)

SVG = "{http://www.w3.org/2000/svg}"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short sequences of drifting smooth noise with grain, dust and flicker."""
    folder = tmp_path_factory.mktemp("bank")
    clean = np.empty((3, 12, 96, 96, 3), np.uint8)
    for n in range(3):
        wide = cv2.GaussianBlur(RNG.random((96, 160, 3)).astype(np.float32), (0, 0), 2.5)
        wide = 40 + 160 * (wide - wide.min()) / np.ptp(wide)
        for i in range(12):
            clean[n, i] = wide[:, 2 * i : 2 * i + 96]
    gains = np.exp(RNG.normal(0, 0.05, (3, 12, 1, 1, 1)))
    damaged = np.clip(clean * gains + RNG.normal(0, 12, clean.shape), 0, 255)
    mask = np.zeros(clean.shape[:4], np.uint8)
    mask[:, ::3, 40:46, 40:46] = 1
    damaged[mask > 0] = 250
    for name, array in (("clean", clean), ("damaged", damaged.astype(np.uint8)), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    (folder / "index.json").write_text(json.dumps({"sequences": [{"preset": "film"}] * 3}))
    prepare(folder)
    return folder


TINY = TrainConfig(
    size="micro",
    steps=60,
    batch=2,
    crop=32,
    warmup=5,
    log_every=10,
    validate_every=30,
    lr=1e-3,
    bridge_from=0.5,
    mix=Mix(noise=0.0, clean=0.0, missing=0.0, broken_flow=0.0, still=0.0, pillarbox=0.0),
)


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
        data = Bank([tmp_path], 32, replace(TINY.mix, clean=1.0, fast=fast), 0)
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


def test_where_the_truth_is_unsure_the_square_loss_takes_the_mean() -> None:
    """A fifth of the places is 1 and nothing tells which: 0.2 is the mean, 0 the median."""
    clean = torch.zeros(1, 3, 20, 20)
    clean[..., :4] = 1
    nothing = torch.zeros(1, 1, 20, 20)
    batch = Batch(clean[:, None], nothing, clean, nothing)
    found = {}
    for loss in PIXEL_LOSSES:
        guess = torch.full((), 0.5, requires_grad=True)
        config = replace(TINY, pixel_loss=loss, latent_weight=0.0, defect_map_weight=0.0)
        latent = torch.zeros(1, 1, 5, 5)
        for _ in range(300):
            output = NetworkOutput(guess.expand_as(clean), latent, nothing, nothing, nothing)
            (slope,) = torch.autograd.grad(loss_of(output, batch, latent, config)["total"], guess)
            with torch.no_grad():
                guess -= 0.01 * slope
        found[loss] = guess.item()
    assert found["square"] == pytest.approx(0.2, abs=0.02)
    assert found["absolute"] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("wrong", [{"pixel_loss": "cubic"}, {"optimiser": "adam"}])
def test_a_choice_that_does_not_exist_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        replace(TINY, **wrong)


def test_the_network_learns_to_tell_the_error_of_its_source(bank: Path, tmp_path: Path) -> None:
    trainer = Trainer(replace(TINY, error_weight=1.0), [bank], tmp_path, device=torch.device("cpu"))
    batch = trainer.data.batch(0, 4)
    errors = [trainer._advance(batch)["error"] for _ in range(40)]
    assert errors[-1] < 0.3 * errors[0]


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


def test_training_writes_what_it_promises(bank: Path, tmp_path: Path) -> None:
    trainer = Trainer(TINY, [bank], tmp_path, device=torch.device("cpu"))
    trainer.run(valid=bank)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "psnr_film" in row] == [30, 60]
    assert "elbo_bits_per_dim" in rows[0]
    assert checkpoint.config(tmp_path / "ema.safetensors")["training"]["step"] == 60  # type: ignore[index]


def test_the_command_draws_what_it_logged_also_when_it_goes_on(bank: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "micro.toml", tmp_path / "out"
    recipe.write_text(
        'size = "micro"\nsteps = 2\nbatch = 1\ncrop = 32\nlog_every = 1\nvalidate_every = 4\n'
        "banks = {film = 3}"
    )
    for name in ("bank/film", "valid_bank"):
        shutil.copytree(bank, out / name)

    def points(steps: int) -> list[int]:
        result = main(recipe, tmp_path, out, valid=tmp_path, steps=steps)
        assert result["curves"] == str(out / "curves.svg")
        lines = ElementTree.parse(out / "curves.svg").iter(f"{SVG}polyline")
        return sorted(len(line.attrib["points"].split()) for line in lines)

    before, after = points(2), points(4)
    assert len(before) >= 5 and before[0] == 1 and set(before[1:]) == {2}  # validated at the end
    assert after == [2 * count for count in before]


def test_a_training_too_short_to_log_has_no_curves(bank: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "micro.toml", tmp_path / "out"
    recipe.write_text('size = "micro"\nsteps = 1\nbatch = 1\ncrop = 32\nbanks = {film = 3}')
    shutil.copytree(bank, out / "bank" / "film")
    result = main(recipe, tmp_path, out)
    assert result["curves"] is None and result["steps"] == 1


OPTIMISERS = pytest.mark.parametrize("optimiser", ["adamw", "muon", "sgd"])


@OPTIMISERS
def test_steps_on_one_batch_bring_its_loss_down(bank: Path, tmp_path: Path, optimiser: str) -> None:
    # SGD does not scale its steps to the parameter, and is slower for it
    rate, reached = (0.3, 0.95) if optimiser == "sgd" else (TINY.lr, 0.85)
    config = replace(TINY, optimiser=optimiser, lr=rate)
    trainer = Trainer(config, [bank], tmp_path, device=torch.device("cpu"))
    batch = trainer.data.batch(0, 2)
    losses = [trainer._advance(batch)["total"] for _ in range(50)]
    assert losses[-1] < reached * losses[0]


@OPTIMISERS
def test_a_resumed_training_is_the_unbroken_one_bit_for_bit(
    bank: Path, tmp_path: Path, optimiser: str
) -> None:
    config, cpu = replace(TINY, optimiser=optimiser), torch.device("cpu")
    Trainer(config, [bank], tmp_path / "whole", device=cpu).run(until=30)
    Trainer(config, [bank], tmp_path / "broken", device=cpu).run(until=14)
    Trainer(config, [bank], tmp_path / "broken", device=cpu).run(until=30)
    whole, broken = (torch.load(tmp_path / name / "last.pt")["net"] for name in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_an_unknown_optimiser_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('optimiser = "lion"')
    with pytest.raises(ValueError, match=r"lion.*adamw, muon, sgd"):
        load_config(path)


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (32, 32)])
def test_an_orthogonal_update_keeps_the_directions_and_evens_their_sizes(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    evened = left.T @ orthogonal(matrix) @ right.T
    assert sizes.max() / sizes.min() > 2
    assert torch.allclose(evened, torch.diag(evened.diagonal()), atol=1e-4)
    assert 0.6 < evened.diagonal().min() and evened.diagonal().max() < 1.3


def test_the_orthogonal_update_moves_weights_as_far_as_adamw_would() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    before, kernel.grad = kernel.detach().clone(), torch.randn_like(kernel)
    Muon([kernel], lr=0.01).step()
    moved = (kernel.detach() - before).square().mean().sqrt()
    assert 0.8 < moved / (0.01 * UPDATE_RMS) < 1.2


def test_only_kernels_are_taken_as_matrices() -> None:
    named = dict(RestorationNet("fast", severe=True).named_parameters())
    taken = {name for name, parameter in named.items() if is_kernel(parameter)}
    assert "denoiser.mid.0.conv1.weight" in taken
    assert not any("film" in name or "bias" in name or "embed" in name for name in taken)


def test_a_stage_begins_with_the_weights_of_the_last(bank: Path, tmp_path: Path) -> None:
    first = Trainer(TINY, [bank], tmp_path / "first", device=torch.device("cpu"))
    first.run(until=10)
    weights = tmp_path / "first" / "ema.safetensors"
    second = Trainer(TINY, [bank], tmp_path / "second", start=weights, device=torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    frames, trust = torch.rand(1, 5, 3, 48, 64, generator=rng), torch.ones(1, 4, 48, 64)
    assert second.step == 0
    assert torch.allclose(
        second.averaged().restore(frames, trust, 1, 0.0, 0).image,
        checkpoint.load(weights).restore(frames, trust, 1, 0.0, 0).image,
        atol=1e-5,
    )
    third = Trainer(
        TrainConfig(size="fast"), [bank], tmp_path / "third", start=weights,
        device=torch.device("cpu"),
    )  # fmt: skip
    assert third.net.size == "fast"
    assert torch.allclose(
        third.averaged().restore(frames, trust, 1, 0.0, 0).image,
        checkpoint.load(weights).restore(frames, trust, 1, 0.0, 0).image,
        atol=1e-5,
    )


def test_learning_rate_and_configuration() -> None:
    assert learning_rate(0, TINY) < learning_rate(4, TINY) == TINY.lr > learning_rate(40, TINY)
    assert learning_rate(60, TINY) == pytest.approx(TINY.lr_last)
    recipes = Path(__file__).parents[3] / "models" / "recipes"
    assert load_config(recipes / "fast.toml").mix.sigma == (2.0, 42.0)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("stepz = 3")
    with pytest.raises(ValueError, match="stepz"):
        load_config(path)
