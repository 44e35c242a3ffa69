"""Candidates for labels: regions that stand out of both motion-compensated neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.real.film import Film
from jobs.evaluate.real.stand_out import Box, Plane, Trio, smaller
from models.motion.flow import warp

RUNS, RUN_FRAMES = 4, 12  # of a film: candidates come from runs of consecutive frames
FLOOR = 9.0  # code values: least stand-out of a candidate
GRAIN = 6.0  # a candidate stands out this many times as far as the median pixel
AREA = (6, 6000)  # pixels of a region
EXPOSURE_SIGMA = 16.0  # pixels over which a difference in exposure is measured
PAD = 2  # pixels of the box around a region


@dataclass(frozen=True)
class Candidate:
    """A region: file of the film, number of the frame, box, and how far it stands out in all."""

    clip: str
    frame: int
    box: Box
    strength: float  # mean departure times the square root of the area


def runs(film: Film, count: int = RUNS, length: int = RUN_FRAMES) -> list[int]:
    """The numbers of frames in ``count`` runs, spread evenly over a film.

    Only frames with both neighbours in their shot count.
    """
    usable = [at for at in range(len(film.frames)) if film.has_neighbours(at)]
    starts = np.linspace(0, max(len(usable) - length, 0), count).astype(int)
    return sorted({at for start in starts for at in usable[start : start + length]})


def departures(trio: Trio) -> Plane:
    """Signed departure (H, W) of every pixel from both neighbours, along its own motion."""
    differences = []
    for other, flow in zip(trio.others, trio.flows, strict=True):
        difference = trio.here - warp(other, flow)
        steady = np.clip(difference, -FLOOR, FLOOR)
        differences.append(difference - cv2.GaussianBlur(steady, (0, 0), EXPOSURE_SIGMA))
    return smaller(*differences)


def regions(departure: Plane) -> list[tuple[Box, float]]:
    """Boxes and strengths of the connected regions of one sign that stand out."""
    typical = float(np.median(np.abs(departure[departure != 0]))) if departure.any() else 0.0
    least = max(FLOOR, GRAIN * typical)
    found: list[tuple[Box, float]] = []
    height, width = departure.shape
    for sign in (1.0, -1.0):
        mask = (sign * departure > least).astype(np.uint8)
        count, marks, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        for mark in range(1, count):
            x, y, w, h, area = (int(number) for number in stats[mark])
            if not AREA[0] <= area <= AREA[1]:
                continue
            mean = float(np.abs(departure[marks == mark]).mean())
            left, top = max(x - PAD, 0), max(y - PAD, 0)
            right, bottom = min(x + w + PAD, width), min(y + h + PAD, height)
            found.append(((left, top, right - left, bottom - top), mean * area**0.5))
    return found


def of_film(film: Film, frames: Iterable[int]) -> list[Candidate]:
    """Return every candidate of the given frames."""
    found: list[Candidate] = []
    for at in frames:
        if film.has_neighbours(at):
            departure = departures(Trio.of(*film.frames[at - 1 : at + 2]))
            found += [Candidate(film.name, at, *region) for region in regions(departure)]
    return found


def chosen(found: Sequence[Candidate], count: int, seed: int = 0) -> list[Candidate]:
    """Choose ``count`` of a film's candidates: half the strongest, half at random.

    The frames take turns, so a frame with many candidates does not crowd out the others.
    """
    rng = np.random.default_rng(seed)
    strong = _in_turns(sorted(found, key=lambda one: -one.strength))[: (count + 1) // 2]
    others = [one for one in found if one not in strong]
    drawn: NDArray[np.int64] = rng.permutation(len(others))
    strong += _in_turns([others[index] for index in drawn])[: count - len(strong)]
    return sorted(strong, key=lambda one: (one.frame, one.box))


def _in_turns(ordered: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of every frame, then the second of every frame, and so on."""
    turns: dict[int, int] = {}
    ranked: list[tuple[int, int, Candidate]] = []
    for place, one in enumerate(ordered):
        turn = turns.get(one.frame, 0)
        turns[one.frame] = turn + 1
        ranked.append((turn, place, one))
    return [one for _, _, one in sorted(ranked, key=lambda item: item[:2])]
