"""Training: its losses, optimisers, resume and stages, at the size that trains in seconds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from jobs.training.train import main
from models.network import checkpoint
from models.network.unet import NetworkOutput
from models.training.dataset import Batch, Mix
from models.training.train import (
    PIXEL_LOSSES,
    TrainConfig,
    Trainer,
    learning_rate,
    load_config,
    loss_of,
)

SVG = "{http://www.w3.org/2000/svg}"


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


def test_where_the_truth_is_unsure_the_square_loss_takes_the_mean() -> None:
    """A fifth of the places is 1 and nothing tells which: 0.2 is the mean, 0 the median."""
    clean = torch.zeros(1, 3, 20, 20)
    clean[..., :4] = 1
    nothing = torch.zeros(1, 1, 20, 20)
    batch = Batch(clean[:, None], nothing, clean, nothing, nothing)
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


def test_the_network_learns_to_predict_the_error_of_its_source(bank: Path, tmp_path: Path) -> None:
    trainer = Trainer(replace(TINY, error_weight=1.0), [bank], tmp_path, device=torch.device("cpu"))
    batch = trainer.data.batch(0, 4)
    errors = [trainer._advance(batch)["error"] for _ in range(40)]
    assert errors[-1] < 0.3 * errors[0]


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
        TrainConfig(size="fast"),
        [bank],
        tmp_path / "third",
        start=weights,
        device=torch.device("cpu"),
    )
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
