"""What limits do to a film, fast: all its frames are decided over at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.real.calibration import Planted
from jobs.evaluate.real.recorded import Recorded, View
from jobs.evaluate.real.stand_out import LEAST
from jobs.evaluate.real.table import FROM
from jobs.evaluate.real.thresholds import GRID
from models.fidelity.decision import Facts, Limits
from models.fidelity.evidence import grown

Marks = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Parts = tuple[NDArray[np.int64], NDArray[np.int64]]  # which film each defect and thing is of
APART = 10  # frames between two films that are decided over together: none is near another


class Outcome(NamedTuple):
    """Which defects of a film are gone, and which of its real things, one value a place, (N,)."""

    defects: Marks
    real: Marks


class Table(NamedTuple):
    """The facts of all frames of a film, one value a region, (N,)."""

    odds: Numbers
    moved: Numbers
    alarms: Numbers
    area: Numbers
    side: Numbers  # the narrower one
    mean: Numbers
    strength: Numbers
    deeper: Numbers  # NaN for a region that is not at a shifted edge
    step: Numbers
    crowd: Numbers
    ridge: Numbers
    pixels: Numbers  # of its frame
    bright: Numbers  # 1, or 0 for a dark one
    frame: NDArray[np.int64]  # the place of its frame among all
    unlike: NDArray[np.int64]  # of every frame, (frames,)
    near: NDArray[np.int64]  # (frames, 3): the one before, itself, the one after; -1 is none

    @classmethod
    def of(cls, facts: Mapping[int, Facts]) -> Self:
        """The facts by frame, in the frames' order."""
        numbers = sorted(facts)
        at = {number: place for place, number in enumerate(numbers)}
        rows = [
            (
                odds, moved, alarms, region.area, min(region.box[2:]), region.mean,
                region.strength, one.shifted.get(region.label, np.nan),
                one.steps.get(region.label, 0.0), crowd, ridge, one.pixels, region.bright,
                at[number],
            )
            for number in numbers
            for one in (facts[number],)
            for region, odds, moved, alarms, crowd, ridge in zip(
                one.regions, one.odds, one.moved, one.alarms, one.crowd, one.ridges, strict=True
            )
        ]  # fmt: skip
        columns = np.array(rows, np.float64).reshape(-1, 14).T
        near = [[at.get(number + side, -1) for side in (-1, 0, 1)] for number in numbers]
        places, beside = columns[-1].astype(np.int64), np.array(near, np.int64).reshape(-1, 3)
        others = np.array([facts[number].unlike for number in numbers], np.int64)
        return cls(*columns[:-1], frame=places, unlike=others, near=beside)  # type: ignore[misc]

    def possible(self) -> Marks:
        """Which regions some limits of GRID repair; the others decide over nothing."""
        least = {name: min(values) for name, values in GRID.items()}
        large = (self.area >= least["stain_area"]) & (self.side >= least["stain_side"])
        stain = large & (self.mean >= least["stain_mean"]) & (self.odds >= least["stain_from"])
        apart = (self.crowd <= max(GRID["apart_most"])) & (self.odds >= least["apart_from"])
        return stain | apart | (self.odds >= least["defect_from"])

    def only(self, kept: Marks) -> Self:
        """The same for some of the regions."""
        of_frames = "near", "unlike"
        columns = {name: getattr(self, name) for name in self._fields}
        return type(self)(
            **{name: one if name in of_frames else one[kept] for name, one in columns.items()}
        )

    def repaired(self, limits: Limits) -> Marks:
        """Which regions are repaired; says what `models.fidelity.decision.decide` says."""
        seen = (self.strength >= limits.strong) & (self.odds >= limits.stain_from)
        strong = seen & (self.odds >= limits.defect_from)
        on_path = strong & (self.alarms < limits.path_below)
        on_paths, of = self._near(on_path), self._near(strong)
        sure = self.odds >= limits.clear_from
        clear, hint = self._near(sure), seen & (self.alarms < limits.path_hint)
        most = np.maximum(limits.lone_area, limits.lone_share * self.pixels)
        doubtful = (self.odds < limits.clear_from) | (self.area > most)
        swarm = on_paths >= np.maximum(limits.swarm_least, limits.swarm * of)
        for sign in (0, 1):
            own = self.bright == sign
            alike = np.maximum(limits.swarm_least, limits.swarm * self._near(strong & own))
            swarm &= ~own | doubtful | (self._near(on_path & own) >= alike)
        apart = self.crowd <= limits.apart_most
        worn = self._near(sure & ~hint) >= limits.clear_least
        worn &= self._near(sure & ~hint & apart) >= limits.apart_least
        others = np.append(self.unlike, 0)[self.near].sum(1)[self.frame]
        apart &= worn & (others <= limits.apart_per * clear)
        dirty = (clear >= limits.dirty_least) & (on_paths <= limits.dirty_swarm * of)
        large = (self.area >= limits.stain_area) & (self.side >= limits.stain_side)
        stain = dirty & (self.moved >= limits.stain_moved) & large
        stain &= self.mean >= limits.stain_mean
        least = np.where(apart, limits.apart_from, limits.defect_from)
        unlike = self.odds < np.where(stain, limits.stain_from, least)
        path_below = np.where(worn, limits.path_below, limits.path_hint)
        path = seen & (self.alarms < np.where(dirty, limits.dirty_path, path_below))
        deep = dirty & (self.deeper >= limits.deep) & (self.odds >= limits.deep_from)
        edge = ~np.isnan(self.deeper) & ~deep
        lone = ~worn & doubtful
        return ~(
            unlike
            | path
            | edge
            | (self.step > limits.structure)
            | (self.ridge > limits.ridge)
            | lone
            | swarm
        )

    def _near(self, marks: Marks) -> Numbers:
        """How many marked regions the frames around each region's frame have, itself included."""
        count = np.bincount(self.frame, weights=marks, minlength=len(self.near) + 1)
        around: Numbers = count[self.near].sum(1)[self.frame]  # the last count is 0: of no frame
        return around


class Plantings:
    """Calibration films, all at once; a place is a region."""

    def __init__(self, films: Sequence[Planted]) -> None:
        facts: dict[int, Facts] = {}
        marks: list[tuple[Marks, Marks]] = []
        of: list[NDArray[np.int64]] = []
        for number, film in enumerate(films):
            begin = max(facts, default=0) + APART
            for at in sorted(film.facts):
                facts[begin + at] = film.facts[at]
                marks.append((film.defect[at], film.real[at]))
                of.append(np.full(len(film.defect[at]), number))
        table = Table.of(facts)
        self._possible = table.possible()
        self._table = table.only(self._possible)
        self._defect, self._real = (np.concatenate(parts) for parts in zip(*marks, strict=True))
        films_of = np.concatenate(of)
        self.parts = films_of[self._defect], films_of[self._real]

    def outcome(self, limits: Limits) -> Outcome:
        repaired = np.zeros(len(self._possible), bool)
        repaired[self._possible] = self._table.repaired(limits)
        return Outcome(repaired[self._defect], repaired[self._real])


class Labelled:
    """A film with labels; only places that stand out far enough count.

    `outcome` takes a place as gone if what is repaired covers as much of its core. That is not
    always so, and a hundred times faster than to measure it, which `measured` does.
    """

    parts: Parts

    def __init__(self, film: Recorded) -> None:
        self.name = film.name
        self._table = Table.of(film.facts)
        at: dict[tuple[int, int], int] = {}
        for number in sorted(film.facts):
            for region in film.facts[number].regions:
                at[number, region.label] = len(at)
        counted = [view for view in film.views if view.core.stand_out >= LEAST]
        self._places = [_Place(view, at) for view in counted]
        self._defect = np.array([view.label.kind == "defect" for view in counted], bool)
        count = int(self._defect.sum())
        self.parts = np.zeros(count, np.int64), np.zeros(len(counted) - count, np.int64)
        self._from = np.array([FROM[view.label.kind] for view in counted])
        nothing = np.zeros(len(at), bool)  # standing scratches are gone before
        self._before = np.array([place.gone(nothing) for place in self._places], bool)
        # Every pixel of the cores: its place; and for each region that covers it, both.
        self._size = np.array([int(view.core.mask.sum()) for view in counted])
        self._place = np.repeat(np.arange(len(counted)), self._size)
        begins = np.cumsum(self._size) - self._size
        covers = [
            (begin + pixels, np.full(len(pixels), row))
            for begin, place in zip(begins, self._places, strict=True)
            for row, pixels in place.covers(at)
        ] or [(np.zeros(0, int), np.zeros(0, int))]
        self._pixel, self._row = (np.concatenate(part) for part in zip(*covers, strict=True))

    def outcome(self, limits: Limits) -> Outcome:
        repaired = self._table.repaired(limits)
        covered = np.zeros(len(self._place), bool)
        covered[self._pixel[repaired[self._row]]] = True
        share = np.bincount(self._place, weights=covered, minlength=len(self._from)) / self._size
        gone = self._before | (share >= self._from)
        return Outcome(gone[self._defect], gone[~self._defect])

    def measured(self, limits: Limits) -> Outcome:
        """The outcome as the benchmark measures it."""
        repaired = self._table.repaired(limits)
        gone = np.array([place.gone(repaired) for place in self._places], bool)
        return Outcome(gone[self._defect], gone[~self._defect])


class _Place:
    """A labelled place, and the regions that decide over it."""

    def __init__(self, view: View, at: Mapping[tuple[int, int], int]) -> None:
        own = [(piece.frame, label) for piece in view.pieces for label in sorted(piece.here)]
        self._view = view
        self._regions = [place for place in own if place in at]  # frame and label
        self._rows = np.array([at[place] for place in self._regions], np.int64)  # of the table

    def covers(self, at: Mapping[tuple[int, int], int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The rows of the regions that reach the core, and which of its pixels they cover."""
        here = self._view.pieces[0]
        x, y, wide, high = self._view.box
        for label in sorted(here.here):
            row = at.get((here.frame, label))
            if row is not None:
                cover = grown(here.labels == label)[y : y + high, x : x + wide]
                yield row, np.flatnonzero(cover[self._view.core.mask])

    def gone(self, repaired: Marks) -> bool:
        """Whether the place is repaired or harmed, from which regions of the film are repaired."""
        frames: dict[int, set[int]] = {piece.frame: set() for piece in self._view.pieces}
        for (frame, label), there in zip(self._regions, repaired[self._rows], strict=True):
            if there:
                frames[frame].add(label)
        share = self._view.gone({frame: frozenset(own) for frame, own in frames.items()})
        return share >= FROM[self._view.label.kind]
