"""Training: its losses, optimisers, resume and stages, at the size that trains in seconds."""

import json
import os
import shutil
import signal
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from jobs.training.train import main
from models.network import checkpoint
from models.network.unet import NetworkOutput
from models.training import parts
from models.training.config import PIXEL_LOSSES, TrainConfig, load_config
from models.training.dataset import Bank, Batch, Mix
from models.training.learner import Learner
from models.training.loader import AHEAD, LoaderError
from models.training.losses import loss_of
from models.training.schedule import pace
from models.training.train import Trainer
from models.training.validation import Validation

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
CPU = torch.device("cpu")


def trainer_of(config: TrainConfig, bank: Path, out: Path, **options: Any) -> Trainer:
    return Trainer({"one": config}, [bank], out, device=CPU, **options)


def losses(learner: Learner, batch: Batch, steps: int, term: str = "total") -> list[float]:
    """A loss at each of some steps on one batch, at the rate after the warm-up."""
    found = []
    for step in range(steps):
        share = (learner.config.warmup + step) / learner.config.steps
        learner.advance(batch, pace(share, step, learner.config))
        found.append(learner.measures()[term])
    return found


def test_where_the_truth_is_unsure_the_square_loss_takes_the_mean() -> None:
    """A fifth of the places is 1 and nothing tells which: 0.2 is the mean, 0 the median."""
    clean = torch.zeros(1, 3, 20, 20)
    clean[..., :4] = 1
    nothing = torch.zeros(1, 1, 20, 20)
    batch = Batch(clean[:, None], nothing, clean, nothing, nothing, nothing, nothing, nothing)
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
    trainer = trainer_of(replace(TINY, error_weight=1.0), bank, tmp_path)
    errors = losses(trainer.learners["one"], trainer.data.batch(0, 4), 40, "error")
    assert errors[-1] < 0.3 * errors[0]


def test_training_writes_what_it_promises(bank: Path, tmp_path: Path) -> None:
    trainer_of(TINY, bank, tmp_path).run(valid=bank)
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
        result: dict[str, Any] = main(
            [recipe], tmp_path, out, valid=tmp_path, steps=steps, workers=0
        )
        assert result["trained"]["micro"]["curves"] == str(out / "curves.svg")
        lines = ElementTree.parse(out / "curves.svg").iter(f"{SVG}polyline")
        return sorted(len(line.attrib["points"].split()) for line in lines)

    before, after = points(2), points(4)
    assert len(before) >= 5 and before[0] == 1 and set(before[1:]) == {2}  # validated at the end
    assert after == [2 * count for count in before]


def test_a_training_too_short_to_log_has_no_curves(bank: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "micro.toml", tmp_path / "out"
    recipe.write_text('size = "micro"\nsteps = 1\nbatch = 1\ncrop = 32\nbanks = {film = 3}')
    shutil.copytree(bank, out / "bank" / "film")
    result: dict[str, Any] = main([recipe], tmp_path, out, workers=0)
    assert result["trained"]["micro"]["curves"] is None and result["steps"] == 1


OPTIMISERS = pytest.mark.parametrize("optimiser", ["adamw", "muon", "sgd"])


@OPTIMISERS
def test_steps_on_one_batch_bring_its_loss_down(bank: Path, tmp_path: Path, optimiser: str) -> None:
    # SGD does not scale its steps to the parameter, and is slower for it
    rate, reached = (0.3, 0.95) if optimiser == "sgd" else (TINY.lr, 0.85)
    config = replace(TINY, optimiser=optimiser, lr=rate)
    trainer = trainer_of(config, bank, tmp_path)
    found = losses(trainer.learners["one"], trainer.data.batch(0, 2), 50)
    assert found[-1] < reached * found[0]


@OPTIMISERS
def test_a_resumed_training_is_the_unbroken_one_bit_for_bit(
    bank: Path, tmp_path: Path, optimiser: str
) -> None:
    config = replace(TINY, optimiser=optimiser)
    trainer_of(config, bank, tmp_path / "whole").run(until=12)
    trainer_of(config, bank, tmp_path / "broken").run(until=5)
    trainer_of(config, bank, tmp_path / "broken").run(until=12)
    whole, broken = (
        parts.load(tmp_path / name / "last", CPU)["learners"]["one"]["net"]
        for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_an_unknown_optimiser_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('optimiser = "lion"')
    with pytest.raises(ValueError, match=r"lion.*adamw, muon, sgd"):
        load_config(path)


def test_a_stage_begins_with_the_weights_of_the_last(bank: Path, tmp_path: Path) -> None:
    trainer_of(TINY, bank, tmp_path / "first").run(until=10)
    weights = tmp_path / "first" / "ema.safetensors"
    second = trainer_of(TINY, bank, tmp_path / "second", starts={"one": weights})
    rng = torch.Generator().manual_seed(0)
    frames, trust = torch.rand(1, 5, 3, 48, 64, generator=rng), torch.ones(1, 4, 48, 64)
    assert second.step == 0
    third = trainer_of(
        replace(TINY, size="fast"), bank, tmp_path / "third", starts={"one": weights}
    )
    assert third.learners["one"].net.size == "fast"
    for trainer in (second, third):
        assert torch.allclose(
            trainer.learners["one"].averaged().restore(frames, trust, 1, 0.0, 0).image,
            checkpoint.load(weights).restore(frames, trust, 1, 0.0, 0).image,
            atol=1e-5,
        )


def test_learning_rate_and_configuration() -> None:
    first, warm, later, last = (pace(n / 60, n, TINY).rate for n in (1, 5, 40, 60))
    assert first < warm == TINY.lr > later > last == pytest.approx(TINY.lr_last)
    recipes = Path(__file__).parents[3] / "models" / "recipes"
    assert load_config(recipes / "fast.toml").mix.sigma == (2.0, 42.0)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("stepz = 3")
    with pytest.raises(ValueError, match="stepz"):
        load_config(path)


def test_trainings_side_by_side_are_those_alone(bank: Path, tmp_path: Path) -> None:
    alone = {"slow": TINY, "quick": replace(TINY, optimiser="muon", lr=4e-3, severe=True)}
    Trainer(alone, [bank], tmp_path / "both", device=CPU).run(until=4)
    for name, config in alone.items():
        Trainer({name: config}, [bank], tmp_path / name, device=CPU).run(until=4)
        found = [
            checkpoint.load(folder / "ema.safetensors").state_dict()
            for folder in (tmp_path / name, tmp_path / "both" / name)
        ]
        assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    with pytest.raises(ValueError, match="is of slow, quick: give the same configurations"):
        Trainer({"slow": TINY}, [bank], tmp_path / "both", device=CPU)


def test_trainings_side_by_side_need_the_same_batches(bank: Path, tmp_path: Path) -> None:
    pair = {"slow": TINY, "quick": replace(TINY, crop=48)}
    with pytest.raises(ValueError, match=r"`crop` is 32 in slow and 48 in quick: make it equal"):
        Trainer(pair, [bank], tmp_path, device=CPU)


@pytest.mark.parametrize("optimiser", ["muon", "sgd"])
def test_a_step_whose_loss_is_not_finite_is_skipped(
    bank: Path, tmp_path: Path, optimiser: str
) -> None:
    learner = trainer_of(replace(TINY, optimiser=optimiser), bank, tmp_path).learners["one"]
    batch = Bank([bank], 32, TINY.mix, 0).batch(0, 2)
    broken = replace(batch, clean=batch.clean * torch.nan)
    for step, skipped in enumerate((1, 0, 1, 0)):
        before = {name: value.clone() for name, value in learner.net.state_dict().items()}
        learner.advance(broken if skipped else batch, pace(0.5, step, TINY))
        after, found = learner.net.state_dict(), learner.measures()
        assert all(torch.equal(before[name], after[name]) for name in before) == bool(skipped)
        assert found["skipped"] == skipped and (found["total"] > 0) != bool(skipped)
    largest = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < largest < 0.1  # momentum is not what memory held before


class Timed(Trainer):
    """By a clock that is set by hand: 5 s a step, 3 s a validation."""

    def __init__(self, bank: Path, out: Path, seconds: float) -> None:
        self.at = 0.0
        super().__init__(
            {"one": TINY}, [bank], out, seconds=seconds, device=CPU, now=lambda: self.at
        )

    def _advance(self, batch: Batch) -> None:
        super()._advance(batch)
        self.at += 5

    def _validated(self, validation: Validation | None) -> dict[str, dict[str, object]]:
        self.at += 3
        return super()._validated(validation)


def test_a_training_by_the_clock_ends_in_time_and_goes_on(bank: Path, tmp_path: Path) -> None:
    for seconds, steps, ended in ((40.0, 6, 36.0), (40.0, 6, 40.0), (60.0, 9, 58.0)):
        trainer = Timed(bank, tmp_path, seconds)
        trainer.run(valid=bank)
        assert (trainer.step, trainer.schedule.elapsed) == (steps, ended)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "psnr_film" in row] == [0, 6, 9]
    with pytest.raises(ValueError, match=r"4 s are too few: validation and checkpoint take 3.0 s"):
        Timed(bank, tmp_path / "short", 4.0).run(valid=bank)


class Killing(Trainer):
    """Its loader process is killed after the second step."""

    def _advance(self, batch: Batch) -> None:
        super()._advance(batch)
        if self.step == 2:
            for process in active_children():
                os.kill(process.pid or 0, signal.SIGKILL)


def test_the_steps_before_a_loader_ends_are_kept(bank: Path, tmp_path: Path) -> None:
    trainer = Killing({"one": TINY}, [bank], tmp_path, device=CPU, workers=1)
    with pytest.raises(LoaderError, match="exit code -9"):
        trainer.run()
    assert 2 <= trainer.step < 2 + AHEAD
    assert trainer_of(TINY, bank, tmp_path).step == trainer.step
