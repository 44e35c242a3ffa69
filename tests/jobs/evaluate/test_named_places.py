"""Real things that the model once erased stay, in real films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from jobs.evaluate.real.benchmark import Place, measure, measure_film, restore_with_model
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import Label, load
from jobs.evaluate.real.stand_out import REPAIRED_FROM
from models.damage.simulator import random_stream
from models.damage.things import lines
from models.fidelity.scratches import erase

KEPT = 0.1  # share of a real thing that may be gone
# Film: what is to be seen there, with the numbers of its frames.
NAMED: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "nasa_launch2.mp4": {"falling ice and debris": (12, 13, 14, 38, 39, 43)},
    "moviepy_chaplin.mp4": {"a runner's foot, its shadow, and a hand": (2, 9)},
    "deepremaster_abomb_blast_effects.mp4": {"the edge of the windscreen's pillar": (2, 12)},
}
# A telegraph pole: it stands out of the picture beside it, not out of the neighbouring frames.
POLE = Label("deepremaster_abomb_blast_effects.mp4", 125, (18, 140, 11, 60), "scratch_standing")


def valid_film(data: Path, name: str) -> Film:
    path = data / "valid" / name
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    return Film.read(path)


def restored(data: Path, labels: tuple[Label, ...]) -> list[Place]:
    path = data / "archive" / labels[0].clip
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    return measure_film((path, labels), partial(restore_with_model, size="base"))


@pytest.mark.slow
@pytest.mark.parametrize("film", NAMED)
def test_what_was_once_erased_stays(footage: Path, film: str) -> None:
    frames = {number for numbers in NAMED[film].values() for number in numbers}
    labels = tuple(label for label in load() if label.clip == film and label.frame in frames)
    real = tuple(label for label in labels if label.kind == "real")
    assert {label.frame for label in real} == frames
    gone = {place.label: place.gone for place in restored(footage, real)}
    assert {label: share for label, share in gone.items() if share > KEPT} == {}


@pytest.mark.slow
def test_a_pole_stays(footage: Path) -> None:
    (place,) = restored(footage, (POLE,))
    assert place.stand_out > 20
    assert place.gone < KEPT


def test_a_scratch_that_stands_still_goes(footage: Path) -> None:
    """Without the network: it sees a frame only after that."""
    labels = [label for label in load() if label.name == "scratch_standing"]
    path = footage / "archive" / labels[0].clip
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    film = Film.read(path)
    scratches = film.scratches(film.shot(labels[0].frame))
    without = {}
    for at in {label.frame for label in labels}:
        picture, taken = (
            (film.frames[at] / 255).astype(np.float32),
            np.zeros((360, 640), np.float32),
        )
        for scratch in scratches:
            if scratch.start <= at < scratch.stop:
                erase(picture, taken, scratch)
        without[at] = np.rint(255 * picture).astype(np.uint8)
    assert min(place.gone for place in measure(film, without, labels)) >= REPAIRED_FROM


@pytest.mark.slow
def test_a_paw_stays(footage: Path) -> None:
    film = valid_film(footage, "davis_libby.mp4")
    after = restore_with_model(film, film.shot(20), range(19, 22), "base")
    assert all((after[at] == film.frames[at]).all() for at in after)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_swaying_cord_stays(footage: Path, seed: int) -> None:
    film = valid_film(footage, "derf_foreman_cif.mp4")
    without = np.stack(film.frames[:22]).astype(np.float32)
    drawn = without.copy()
    lines(drawn, random_stream(seed, "cord"), count=1)
    frames = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    planted = replace(film, frames=list(frames))
    for at, after in restore_with_model(planted, range(22), range(8, 12), "base").items():
        cord = frames[at] - without[at]
        assert np.count_nonzero(np.abs(cord).max(2) > 12) > 150
        gone = float(((frames[at].astype(np.float32) - after) * cord).sum() / np.square(cord).sum())
        assert gone < KEPT
