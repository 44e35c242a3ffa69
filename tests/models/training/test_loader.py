"""Batches of other processes: the same ones, and no waiting for a process that is gone."""

import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from models.fidelity.damage_level import Nearest, damage_level
from models.training.dataset import Bank, Mix
from models.training.loader import Loader, LoaderError

LIGHT = Mix(noise=1.0, clean=0.0, missing=1.0, broken_flow=0.0, still=0.0, pillarbox=0.0)


@pytest.fixture
def made(bank: Path) -> Iterator[Loader]:
    with Loader(Bank([bank], 32, LIGHT, 0), 3, workers=2, ahead=2) as loader:
        yield loader


def test_processes_make_the_batches_of_one_process(made: Loader, bank: Path) -> None:
    here = Loader(Bank([bank], 32, LIGHT, 0), 3, workers=0)
    pairs = zip(made.batches(4, 9), here.batches(4, 9), strict=True)
    for number, (theirs, ours) in enumerate(pairs):
        for name, value in vars(ours).items():
            assert torch.equal(value, vars(theirs)[name]), (number, name)
    assert number == 4 and made.taken() > 0 and made.waited > 0


def test_a_process_that_is_killed_is_an_error(made: Loader) -> None:
    batches = made.batches(0)
    next(batches)
    os.kill(made.processes[0], signal.SIGKILL)
    with pytest.raises(LoaderError, match=r"ended with exit code -9.*fewer --workers"):
        list(islice(batches, 20))


def test_a_process_that_hangs_is_an_error(bank: Path) -> None:
    with Loader(Bank([bank], 32, LIGHT, 0), 3, workers=1, ahead=2) as loader:
        loader._stalled = 0.1
        os.kill(loader.processes[0], signal.SIGSTOP)
        with pytest.raises(LoaderError, match=r"no sample for 0 s.*step 0, sample 0"):
            next(loader.batches(0))
        os.kill(loader.processes[0], signal.SIGCONT)


def test_what_fails_in_a_process_is_named(made: Loader) -> None:
    made._makers[0].pipe.send(("no step", 0))
    with pytest.raises(LoaderError, match=r"(?s)failed:.*TypeError.*delete its folder"):
        made._receive(made._makers[:1])


def test_damage_levels_are_those_of_the_windows(bank: Path) -> None:
    batch = Bank([bank], 48, Mix(), 0).batch(2, 4)
    measured = damage_level(Nearest.of(batch.window, batch.trust))
    torch.testing.assert_close(batch.levels, measured, rtol=1e-4, atol=1e-5)
    assert batch.levels.std(0).max() > 0.05
    assert batch.noise.std() == pytest.approx(1, abs=0.05) and 0 <= batch.chance.min()


def test_a_crop_that_is_too_large_is_named(bank: Path) -> None:
    with pytest.raises(ValueError, match=r"crop = 80 needs frames of 112 pixels; .* have 96"):
        Bank([bank], 80, Mix(), 0)
