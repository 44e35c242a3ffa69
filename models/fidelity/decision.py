"""Which of the regions that stand out are repaired, and why the others are left.

The limits are one value, so that a program can choose them on some films and judge others by them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.fidelity.edges import is_upright
from models.fidelity.regions import Region
from models.frame_state import Why

UNSEEN = np.inf  # false alarms of a region whose path was not looked for
UNLIKE = -0.4  # log odds below which a region counts as unlike dust, in the crowd of others


class Limits(NamedTuple):
    """From where a measure counts. Log odds are those of a defect; areas are in pixels."""

    defect_from: float = -0.4  # log odds of a defect, in film that has clear ones
    clear_from: float = 1.5  # log odds of a clear defect
    clear_least: int = 2  # clear defects in three frames from which film has such
    # Dust falls everywhere, so some of it lies apart: with so few regions around it that are unlike
    # dust. Film without so many clear defects apart has none: they are pieces of things in motion.
    apart_most: int = 1
    apart_least: int = 1
    # What is around a region apart did match, so it is no piece of a thing: the log odds of a
    # defect, in film with at most so many regions that are unlike dust to each clear defect.
    apart_from: float = -1.4
    apart_per: float = 4.0
    # A stain in dirty film: its log odds; the share of it that the network removes; its area and
    # its narrower side in pixels; the code values by which it stands out.
    stain_from: float = -1.4
    stain_moved: float = 0.45
    stain_area: int = 100
    stain_side: int = 8
    stain_mean: float = 12.0
    # Up to which a lone region may be a defect: the larger of an area and a share of the frame.
    lone_area: int = 150
    lone_share: float = 5e-4
    strong: float = 60.0  # strength from which a region's path is looked for
    path_below: float = -1.8  # log10 of the false alarms below which a region is on a path
    path_hint: float = -1.2  # the same in film without clear defects: there a hint is enough
    # Dirty film: clear defects in three frames; share of the strong regions on a path; in it,
    # log10 of the false alarms below which a region is on a path.
    dirty_least: int = 20
    dirty_swarm: float = 0.15
    dirty_path: float = -2.7
    swarm: float = 0.2  # share of the strong regions on a path from which all may be things
    swarm_least: int = 2  # regions on a path
    # In dirty film: times deeper than others, and log odds, from which a region is not of a shift
    # in the gate.
    deep: float = 3.0
    deep_from: float = 1.0
    # Step of an edge over how far a long thin region along it stands out, from which it is of it.
    structure: float = 2.0
    ridge: float = 2.5  # the same of a ridge that both neighbours have under a region

    def is_apart(self, odds: float, crowd: int) -> bool:
        """Whether a region would be left, but for the few around it that are unlike dust."""
        return self.apart_from <= odds < self.defect_from and crowd <= self.apart_most

    def may_be_stain(self, region: Region) -> bool:
        """Whether a region has the size of a stain.

        The picture shows through one, which makes it less unlike its surroundings than other dirt,
        and so its log odds lower.
        """
        large = region.area >= self.stain_area and min(region.box[2:]) >= self.stain_side
        return large and region.mean >= self.stain_mean


SHIPPED = Limits()


class Facts(NamedTuple):
    """What a decision rests on: the regions of one frame, and what was measured of each, (N,)."""

    regions: tuple[Region, ...]
    pixels: int  # of the frame
    odds: NDArray[np.float64]  # log odds of a defect
    moved: NDArray[np.float64]  # share by which the network moves it
    alarms: NDArray[np.float64]  # log10 of the false alarms of its path, or UNSEEN
    # By label, at an edge of the picture that shifted in the gate: times deeper than others there
    shifted: dict[int, float]
    steps: dict[int, float]  # by label: step of an edge along it over how far the region stands out
    crowd: NDArray[np.int64]  # others around it that are unlike dust
    unlike: int  # regions that are unlike dust
    ridges: NDArray[np.float64]  # ridge under it in both neighbours over how far it stands out


def decide(here: Facts, near: Collection[Facts], limits: Limits) -> dict[int, Why]:
    """Why each region that is not repaired is left, by its label.

    ``near`` holds the facts of the frame before, of this one and of the one after.
    """
    by_sign = {bright: _on_paths(near, limits, bright) for bright in (False, True)}
    on_paths, strong = (sum(counts) for counts in zip(*by_sign.values(), strict=True))
    clear = _clear(near, limits)
    # So many on paths that the others may be things as well. Things of one swarm look alike: a
    # small dark piece that is clearly dust is not of a swarm of bright ice.
    swarm = _is_swarm(on_paths, strong, limits)
    swarms = {bright: _is_swarm(*by_sign[bright], limits) for bright in by_sign}
    # Without clear defects near, a doubtful or large one is often a thing.
    worn = clear.off_paths >= limits.clear_least and clear.apart >= limits.apart_least
    dirty = clear.all >= limits.dirty_least and on_paths <= limits.dirty_swarm * strong
    # Chance alone lays a piece of dust on a path where there is much of it and nothing travels.
    path_below = limits.path_below if worn else limits.path_hint
    path_below = limits.dirty_path if dirty else path_below
    most = max(limits.lone_area, limits.lone_share * here.pixels)
    seen = _path_seen(here, limits)
    why: dict[int, Why] = {}
    dusty = worn and sum(facts.unlike for facts in near) <= limits.apart_per * clear.all
    least = _least_odds(here, dusty, dirty, limits)
    for region, odds, from_, alarms, path_seen, ridge in zip(
        here.regions, here.odds, least, here.alarms, seen, here.ridges, strict=True
    ):
        doubtful = odds < limits.clear_from or region.area > most
        if odds < from_:
            why[region.label] = "unlike_dust"
        elif path_seen and alarms < path_below:
            why[region.label] = "path"
        elif _of_the_shift(here.shifted.get(region.label), odds, dirty, limits):
            why[region.label] = "edge"
        elif here.steps.get(region.label, 0.0) > limits.structure:
            why[region.label] = "upright" if is_upright(region.box) else "rim"
        elif ridge > limits.ridge:
            why[region.label] = "ridge"
        elif not worn and doubtful:
            why[region.label] = "lone"
        elif swarm and (doubtful or swarms[region.bright]):
            why[region.label] = "swarm"
    return why


def _least_odds(here: Facts, dusty: bool, dirty: bool, limits: Limits) -> NDArray[np.float64]:
    """Log odds from which each region may be a defect, (N,)."""
    least = np.full(len(here.regions), limits.defect_from)
    if dusty:
        least[here.crowd <= limits.apart_most] = limits.apart_from
    if dirty:
        stains = np.array([limits.may_be_stain(region) for region in here.regions], bool)
        least[stains & (here.moved >= limits.stain_moved)] = limits.stain_from
    return least


def _of_the_shift(deeper: float | None, odds: float, dirty: bool, limits: Limits) -> bool:
    """Whether a shift in the gate shows a region, or a thing that enters the picture.

    A shift shows a strip, equally deep all along the edge. In dirty film, a likely defect that
    reaches much further into the picture is dirt.
    """
    if deeper is None:
        return False
    return not (dirty and deeper >= limits.deep and odds >= limits.deep_from)


def has_path(region: Region, odds: float, limits: Limits) -> bool:
    """Whether a path through a region is looked for."""
    return region.strength >= limits.strong and odds >= limits.stain_from


def _path_seen(facts: Facts, limits: Limits) -> list[bool]:
    return [
        has_path(region, odds, limits)
        for region, odds in zip(facts.regions, facts.odds, strict=True)
    ]


class _Clear(NamedTuple):
    """How many clear defects some frames have.

    A ball in flight is clear in every frame, so one with a hint of a path is no sign of dust.
    """

    all: int
    off_paths: int  # without a hint of a path
    apart: int  # of them, with few regions around them that are unlike dust


def _clear(near: Collection[Facts], limits: Limits) -> _Clear:
    counts = np.zeros(3, int)
    for facts in near:
        sure = facts.odds >= limits.clear_from
        hint = np.array(_path_seen(facts, limits), bool) & (facts.alarms < limits.path_hint)
        apart = facts.crowd <= limits.apart_most
        counts += [int(marks.sum()) for marks in (sure, sure & ~hint, sure & ~hint & apart)]
    return _Clear(*counts.tolist())


def _is_swarm(on_paths: int, strong: int, limits: Limits) -> bool:
    return on_paths >= max(limits.swarm_least, limits.swarm * strong)


def _on_paths(near: Collection[Facts], limits: Limits, bright: bool) -> tuple[int, int]:
    """How many strong regions of a sign that are like defects are on a path; how many there are."""
    alarms = [
        value
        for facts in near
        for region, value, odds, seen in zip(
            facts.regions, facts.alarms, facts.odds, _path_seen(facts, limits), strict=True
        )
        if seen and odds >= limits.defect_from and region.bright == bright
    ]
    return sum(value < limits.path_below for value in alarms), len(alarms)
