"""Chooses limits of the evidence on some films, so that no few places and no one film decide.

`python -m jobs.evaluate.real.search RECORDED CALIBRATION [SEEDS]` reads what `recorded.py` and
`calibration.py` wrote. It judges each labelled film by limits that are chosen without it: on the
calibration films, on the other films, or on both. It prints both shares by film and over all, for
each seed (0,1,2), and what would be chosen with all films.

The worth of a set of limits is the share of defects that it repairs, less PRICE times the share of
real things that it harms. Labelled films weigh as much together as calibration films do. Within
both, a film weighs as the root of the number of its places.

BAGS times, every film and every place gets a weight at random (the Bayesian bootstrap; Rubin,
1981). Each time all limits begin at random values, and one after the other takes its best value in
GRID, until none moves. Each chosen limit is the median of the BAGS values. So the shipped limits
take no part, and a limit that nothing speaks for ends in the middle of its values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.console import output
from jobs.evaluate.real import calibration, recorded
from jobs.evaluate.real.outcomes import Labelled, Outcome, Parts, Plantings
from jobs.evaluate.real.thresholds import GRID, Count
from models.fidelity.decision import SHIPPED, Limits

PRICE = 0.08 / 0.03  # both aims, 92 % repaired and 3 % harmed, leave as much to lose
BAGS = 15  # odd, so that the median is one of the values
ROUNDS = 4  # at most, through all limits
WAYS = "calibration films", "both", "other films"  # what limits are chosen on
GAIN = 1e-9  # of worth: a limit moves only if it gains something


Weights = Sequence[Sequence[tuple[NDArray[np.float64], ...]]]  # of every place, by group and film


class Judging(Protocol):
    """One or several films whose places limits decide over."""

    @property
    def parts(self) -> Parts: ...

    def outcome(self, limits: Limits) -> Outcome: ...


class Weighed:
    """Films in groups that weigh alike; knows what it has tried."""

    def __init__(self, groups: Sequence[Sequence[Judging]]) -> None:
        self._groups = [list(group) for group in groups if group]
        self._known: dict[Limits, list[list[Outcome]]] = {}

    def outcomes(self, limits: Limits) -> list[list[Outcome]]:
        if limits not in self._known:
            self._known[limits] = [
                [film.outcome(limits) for film in group] for group in self._groups
            ]
        return self._known[limits]

    def weights(self, rng: np.random.Generator) -> Weights:
        """Weights at random: each kind weighs 1 in a group, a film as the root of its places."""
        groups: list[list[tuple[NDArray[np.float64], ...]]] = []
        for group in self._groups:
            films = [tuple(_places(part, rng) for part in film.parts) for film in group]
            whole = [sum(float(one[kind].sum()) for one in films) or 1.0 for kind in (0, 1)]
            groups.append([(one[0] / whole[0], one[1] / whole[1]) for one in films])
        return groups

    def worth(self, limits: Limits, weights: Weights) -> float:
        """Mean worth over the groups."""
        pairs = [
            (marks, own)
            for group, of_group in zip(self.outcomes(limits), weights, strict=True)
            for marks, own in zip(group, of_group, strict=True)
        ]
        total = sum(
            float(own[0] @ marks.defects) - PRICE * float(own[1] @ marks.real)
            for marks, own in pairs
        )
        return total / len(self._groups)


def _places(films: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights of places, (N,), from the number of each one's film."""
    count = np.maximum(np.bincount(films), 1)
    of_film = rng.exponential(size=len(count)) / count**0.5
    weights: NDArray[np.float64] = of_film[films] * rng.exponential(size=len(films))
    return weights


def search(
    groups: Sequence[Sequence[Judging]],
    grid: Mapping[str, Sequence[float]],
    seed: int,
    bags: int = BAGS,
) -> Limits:
    """Choose limits on groups of films."""
    films, rng = Weighed(groups), np.random.default_rng(seed)
    chosen = [_climbed(films, grid, films.weights(rng), rng) for _ in range(bags)]
    middle = {
        name: type(getattr(SHIPPED, name))(np.median([getattr(one, name) for one in chosen]))
        for name in grid
    }
    return Limits(**(SHIPPED._asdict() | middle))


def drawn(grid: Mapping[str, Sequence[float]], rng: np.random.Generator) -> Limits:
    """Limits with a value at random for each that the grid names."""
    values = {name: values[int(rng.integers(len(values)))] for name, values in grid.items()}
    return Limits(**(SHIPPED._asdict() | values))


def _with(limits: Limits, name: str, value: float) -> Limits:
    return Limits(**(limits._asdict() | {name: value}))


def _climbed(
    films: Weighed,
    grid: Mapping[str, Sequence[float]],
    weights: Weights,
    rng: np.random.Generator,
) -> Limits:
    """Limits from a start at random, each moved to its best value until none moves."""
    limits = drawn(grid, rng)
    worth = films.worth(limits, weights)
    for _ in range(ROUNDS):
        before = limits
        for name in rng.permutation(list(grid)):
            for value in grid[name]:
                tried = _with(limits, name, value)
                found = films.worth(tried, weights)
                if found > worth + GAIN:
                    limits, worth = tried, found
        if limits == before:
            break
    return limits


def count(outcomes: Iterable[Outcome]) -> Count:
    """Count the places of some films."""
    total = Count()
    for defects, real in outcomes:
        total += Count(len(defects), int(defects.sum()), len(real), int(real.sum()))
    return total


def spreads(groups: Sequence[Sequence[Judging]], starts: int = 20) -> dict[str, float]:
    """How far each limit moves the worth, from its worst to its best value in GRID.

    It is the mean over some sets of the other limits, drawn at random.
    """
    films, rng = Weighed(groups), np.random.default_rng(0)
    weights = films.weights(rng)
    total = dict.fromkeys(GRID, 0.0)
    for _ in range(starts):
        start = drawn(GRID, rng)
        for name, values in GRID.items():
            found = [films.worth(_with(start, name, value), weights) for value in values]
            total[name] += (max(found) - min(found)) / starts
    return total


def main(labelled: Path, planted: Path, seeds: Sequence[int] = (0, 1, 2)) -> None:
    films = [Labelled(film) for film in recorded.read(labelled)]
    clips: list[Judging] = [Plantings(calibration.read(planted / "calibration.pickle"))]
    shipped = count(clip.outcome(SHIPPED) for clip in clips)
    output.say(f"{shipped.row('calibration, by the shipped limits')}")
    for name, spread in sorted(spreads([clips]).items(), key=lambda item: -item[1]):
        output.say(f"calibration: {name} moves the worth by {spread:.4f}")
    also: Mapping[str, list[list[Judging]]] = {"other films": [], "both": [clips]}
    for seed in seeds:
        on_clips = search([clips], GRID, seed)
        for way in WAYS:
            output.say(f"| film, limits chosen on {way}, seed {seed} | repaired | share | harmed |")
            total = Count()
            for film in films:
                others: list[Judging] = [one for one in films if one is not film]
                chosen = on_clips if way == WAYS[0] else search([others, *also[way]], GRID, seed)
                total += (here := count([film.measured(chosen)]))
                output.say(f"{here.row(film.name)} {_values(chosen)} |")
            output.say(f"{total.row('all')} |")
            chosen = on_clips if way == WAYS[0] else search([films, *also[way]], GRID, seed)
            own = count(film.measured(chosen) for film in films)
            output.say(f"{own.row('all, by limits chosen on all films')} {_values(chosen)} |")
    own = count(film.measured(SHIPPED) for film in films)
    output.say(f"{own.row('all, by the shipped limits')} |")


def _values(limits: Limits) -> str:
    return ", ".join(f"{name} {getattr(limits, name):g}" for name in GRID)


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(f"python -m jobs.evaluate.real.search RECORDED CALIBRATION [SEEDS]: {__doc__}")
    numbers = [int(seed) for seed in sys.argv[3].split(",")] if len(sys.argv) > 3 else (0, 1, 2)
    main(Path(sys.argv[1]), Path(sys.argv[2]), numbers)
