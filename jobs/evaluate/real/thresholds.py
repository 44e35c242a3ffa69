"""Does the evidence hold on a film that its limits were not chosen on?

`python -m jobs.evaluate.real.thresholds RECORDED [GAIN [LIMIT ...]]` reads the films that
`recorded.py` wrote. For each film it chooses the limits on the labels of the other films, and
judges this film by them. It prints both shares by film and over all, and what was chosen, twice:

- Drawn: of DRAWN sets of limits, drawn from GRID, the one with which the most places of the other
  films are as they should be: defects repaired, real things whole. The shipped limits take no part.
- Moved: the choice begins with the shipped limits. Each limit in turn takes its best value in GRID,
  but only if that gains GAIN places (3).

At most MOST_HARMED of the real things of the other films may be harmed. With a LIMIT named, the
others stay as shipped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from jobs.console import output
from jobs.evaluate.real.recorded import Recorded, read
from jobs.evaluate.real.stand_out import LEAST
from jobs.evaluate.real.table import FROM
from models.fidelity.decision import SHIPPED, Limits
from schemas.errors import ArchiveError

MOST_HARMED = 0.02  # of the real things of the films that the limits are chosen on
TOO_MANY = 1000  # places that one harmed place too many costs
LEAST_GAIN = 3  # places: fewer are chance
ROUNDS = 4  # at most, through all limits
DRAWN = 500  # sets of limits
GRID: Mapping[str, Sequence[float]] = {
    "defect_from": (-1.2, -1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4),
    "apart_from": (-1.6, -1.4, -1.2, -1.0, -0.8, -0.6, -0.4, -0.2, 0.0),
    "apart_most": (0, 1, 2, 3),
    "apart_least": (0, 1, 2, 3),
    "apart_per": (1, 2, 4, 8, 16),
    "path_below": (-3.0, -2.6, -2.2, -1.8, -1.4, -1.0, -0.6),
    "clear_from": (0.5, 1.0, 1.5, 2.0, 2.5),
    "clear_least": (1, 2, 3, 5),
    "swarm": (0.1, 0.15, 0.2, 0.3, 0.4, 0.6),
    "swarm_least": (1, 2, 3, 5),
    "strong": (45, 60, 80, 110, 150),
    "dirty_least": (5, 10, 15, 20, 30, 40),
    "dirty_swarm": (0.05, 0.1, 0.15, 0.2, 0.3),
    "dirty_path": (-3.5, -3.1, -2.7, -2.3, -1.9),
    "stain_from": (-2.0, -1.7, -1.4, -1.0, -0.6),
    "stain_moved": (0.25, 0.35, 0.45, 0.55, 0.65),
    "stain_area": (50, 100, 200, 400),
    "stain_side": (4, 6, 8, 12),
    "stain_mean": (6, 9, 12, 16, 20),
    "lone_area": (60, 100, 150, 250, 400),
    "lone_share": (1e-4, 2.5e-4, 5e-4, 1e-3),
    "deep": (1.5, 2.0, 3.0, 4.0, 6.0),
    "ridge": (1.5, 2.0, 2.5, 3.0, 4.0),
    "structure": (1.2, 1.6, 2.0, 2.4, 3.0),
}


class Count(NamedTuple):
    """Places of some films, and how many of them are repaired or harmed."""

    defects: int = 0
    repaired: int = 0
    real: int = 0
    harmed: int = 0

    def __add__(self, other: Self) -> Count:  # type: ignore[override]
        return Count(*(one + two for one, two in zip(self, other, strict=True)))

    @property
    def score(self) -> int:
        """Places that are as they should be; far less if too many are harmed."""
        too_many = max(self.harmed - int(MOST_HARMED * self.real), 0)
        return self.repaired - self.harmed - TOO_MANY * too_many

    def row(self, name: str) -> str:
        shares = [
            f"{100 * hits / places:.1f} %" if places else "-"
            for hits, places in ((self.repaired, self.defects), (self.harmed, self.real))
        ]
        repaired, harmed = shares
        return (
            f"| {name} | {self.repaired} of {self.defects} | {repaired}"
            f" | {self.harmed} of {self.real} | {harmed} |"
        )


class Judged:
    """The films, and what every set of limits that was tried does to each."""

    def __init__(self, films: Sequence[Recorded]) -> None:
        self._films = {film.name: film for film in films}
        self._known: dict[tuple[str, Limits], Count] = {}

    def of(self, name: str, limits: Limits) -> Count:
        """What limits do to a film."""
        if (name, limits) not in self._known:
            self._known[name, limits] = count(self._films[name], limits)
        return self._known[name, limits]

    def over(self, names: Sequence[str], limits: Limits) -> Count:
        """What limits do to some films together."""
        return sum((self.of(name, limits) for name in names), Count())


def count(film: Recorded, limits: Limits) -> Count:
    """Count the places of a film that stand out far enough."""
    repaired, total = film.repaired(limits), Count()
    for view in film.views:
        if view.core.stand_out >= LEAST:
            hit = int(view.gone(repaired) >= FROM[view.label.kind])
            total += Count(1, hit) if view.label.kind == "defect" else Count(0, 0, 1, hit)
    return total


def draw(free: Sequence[str], count: int = DRAWN) -> list[Limits]:
    """Sets of limits, each with the ``free`` ones drawn from GRID."""
    rng = np.random.default_rng(1)
    drawn = [
        {name: GRID[name][int(rng.integers(len(GRID[name])))] for name in free}
        for _ in range(count)
    ]
    return [Limits(**(SHIPPED._asdict() | values)) for values in drawn]


def best(judged: Judged, names: Sequence[str], sets: Sequence[Limits]) -> Limits:
    """Choose the set of limits that suits some films best."""
    return max(sets, key=lambda one: judged.over(names, one).score)


def choose(judged: Judged, names: Sequence[str], gain: int, free: Sequence[str]) -> Limits:
    """Choose the ``free`` limits on some films, one after the other, until none moves."""
    limits = SHIPPED
    for _ in range(ROUNDS):
        before = limits
        for name in free:
            tried = [Limits(**(limits._asdict() | {name: value})) for value in GRID[name]]
            one = best(judged, names, tried)
            if judged.over(names, one).score >= judged.over(names, limits).score + gain:
                limits = one
        if limits == before:
            break
    return limits


def main(recorded: Path, gain: int = LEAST_GAIN, free: Sequence[str] = ()) -> None:
    """Raises ArchiveError for an unknown limit."""
    if unknown := [name for name in free if name not in GRID]:
        raise ArchiveError(f"no limit: {', '.join(unknown)}; known are {', '.join(GRID)}")
    films, free = read(recorded), free or [*GRID]
    judged, sets = Judged(films), draw(free)
    names = [film.name for film in films]
    ways: Mapping[str, Callable[[Sequence[str]], Limits]] = {
        "drawn": lambda others: best(judged, others, sets),
        "moved": lambda others: choose(judged, others, gain, free),
    }
    for way, chosen in ways.items():
        output.say(f"| film, limits {way} on the others | repaired | share | harmed | share | |")
        output.say("|---|--:|--:|--:|--:|---|")
        total = Count()
        for name in names:
            limits = chosen([one for one in names if one != name])
            total += judged.of(name, limits)
            output.say(f"{judged.of(name, limits).row(name)} {_changed(limits)} |")
        output.say(f"{total.row('all')} |")
    output.say(f"{judged.over(names, SHIPPED).row('all, by the shipped limits')} |")


def _changed(limits: Limits) -> str:
    """What differs from the shipped limits."""
    pairs = zip(Limits._fields, limits, SHIPPED, strict=True)
    return ", ".join(f"{name} {value:g}" for name, value, shipped in pairs if value != shipped)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"python -m jobs.evaluate.real.thresholds RECORDED [GAIN [LIMIT ...]]: {__doc__}")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else LEAST_GAIN, sys.argv[3:])
