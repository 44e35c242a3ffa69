"""What decides over the labelled places of a film, whatever the limits of the evidence are.

`python -m jobs.evaluate.real.recorded FILMS OUT [SIZE [LABELS]]` restores what the labels need of
each film once, with everything repaired that any limits could repair, and writes OUT/FILM.pickle.
`thresholds.py` reads these files: it can then try a set of limits in less than a second.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.console import output
from jobs.evaluate.evaluate import is_unsteady, over_clips, restorer_of
from jobs.evaluate.real.benchmark import Task, check, stretches, tasks_of
from jobs.evaluate.real.classes import STANDING, STANDING_SCRATCH
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import LABELS, Label, load
from jobs.evaluate.real.stand_out import (
    BLUR_SIGMA,
    Box,
    Core,
    Plane,
    Trio,
    margin_of,
    of_neighbours,
    of_sides,
    of_surroundings,
    share_gone,
    sharp_luma,
)
from models.fidelity.decision import Facts, Limits, decide
from models.fidelity.evidence import grown, removed
from models.fidelity.masks import parts_of, soft, suspect_share
from models.fidelity.regions import Mask, Seen, change_in
from models.frame_state import FrameState

# The loosest limits: whatever stands out and has the least log odds is repaired.
LEAST_ODDS, LEAST_STRENGTH = -2.0, 45.0
NEVER = 1e9
LOOSEST = Limits(
    defect_from=LEAST_ODDS,
    apart_least=0,
    apart_from=LEAST_ODDS,
    apart_per=NEVER,
    clear_least=0,
    stain_from=LEAST_ODDS,
    strong=LEAST_STRENGTH,
    path_below=-NEVER,
    dirty_least=0,
    dirty_swarm=NEVER,
    dirty_path=-NEVER,
    swarm=NEVER,
    structure=NEVER,
    ridge=NEVER,
    deep=0.0,
    deep_from=LEAST_ODDS,
)
AROUND = 24  # pixels around a place, beside what its measure needs and how far its motion goes

Repaired = frozenset[int]  # labels of the regions of a frame that are repaired


class Piece(NamedTuple):
    """The part of a frame around a labelled place; every plane is (h, w)."""

    frame: int
    source: NDArray[np.float16]  # luma, its exposure corrected
    repaired: NDArray[np.float16]  # luma with everything repaired
    labels: NDArray[np.int32]  # of the regions
    removed: Mask  # what the network removes
    here: Repaired  # all regions of this part

    def restored(self, repaired: Repaired) -> Plane:
        """Luma with some regions repaired, as the restorer composes it."""
        defects = grown(np.isin(self.labels, list(repaired & self.here)))
        # What no limits repair was kept when everything else was repaired.
        parts, large = parts_of(self.removed & grown(self.labels > 0) & ~defects)
        suspects = np.isin(parts, [label for label, _ in large])
        weight = soft(defects) * (1 - suspect_share(suspects))
        source = self.source.astype(np.float32)
        return np.rint(source + weight * (self.repaired.astype(np.float32) - source))


@dataclass
class View:
    """A labelled place: how far it stands out, and the frame's parts that decide over it."""

    label: Label
    box: Box  # in the parts
    core: Core
    pieces: Sequence[Piece]  # the frame; then the one before and after, unless it is measured alone
    flows: Sequence[NDArray[np.float16]]  # to the one before and after
    known: dict[tuple[Repaired, ...], float] = field(default_factory=dict)

    def gone(self, repaired: Mapping[int, Repaired]) -> float:
        """The share of the place that is gone if these regions are repaired, by frame."""
        key = tuple(repaired[piece.frame] & piece.here for piece in self.pieces)
        if key not in self.known:
            planes = [piece.restored(own) for piece, own in zip(self.pieces, key, strict=True)]
            self.known[key] = share_gone(
                self.core, _departure(self.label, self.box, planes, self.flows)
            )
        return self.known[key]


@dataclass
class Recorded:
    """A film: the facts of every frame that counts, and its labelled places."""

    name: str
    facts: dict[int, Facts]
    views: list[View]

    def repaired(self, limits: Limits) -> dict[int, Repaired]:
        """The regions that are repaired with these limits, in every frame that the places need."""
        found: dict[int, Repaired] = {}
        for frame in {piece.frame for view in self.views for piece in view.pieces}:
            near = [self.facts[at] for at in (frame - 1, frame, frame + 1) if at in self.facts]
            here = self.facts[frame]
            left = decide(here, near, limits)
            found[frame] = frozenset(one.label for one in here.regions if one.label not in left)
        return found


class _Frame(NamedTuple):
    """Pictures and masks of one frame, as its parts are cut from them."""

    source: Plane
    repaired: Plane
    labels: NDArray[np.int32]
    removed: Mask


def record(task: Task, size: str) -> Recorded:
    """Restore what the labels of one film need, with everything repaired, and keep what decides."""
    path, labels = task
    film = Film.read(path)
    check(film, labels)
    facts: dict[int, Facts] = {}
    views: list[View] = []
    for shot, wanted in stretches(film, labels):
        frames = _restored(film, shot, wanted, size, facts)
        own = [label for label in sorted(labels) if label.frame in wanted and label.frame in shot]
        views += _views(film, own, frames)
    return Recorded(film.name, facts, views)


def _restored(
    film: Film, shot: range, wanted: range, size: str, facts: dict[int, Facts]
) -> dict[int, _Frame]:
    """The wanted frames with everything repaired; adds what was measured of each to the facts."""
    from models.restorer import CONTEXT  # torch: imported only if it is used

    looked: dict[int, tuple[Plane, NDArray[np.int32], Mask]] = {}

    def watch(stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
        for frame in frames:
            if stage == "evidence" and frame.facts is not None:
                facts[frame.index] = likely(frame.facts)
                if frame.index in wanted:
                    picture = np.clip(np.rint(255 * frame.source), 0, 255).astype(np.uint8)
                    looked[frame.index] = sharp_luma(picture), *masks_of(frame)
            yield frame

    first = max(wanted.start - CONTEXT, shot.start)
    read = film.frames[first : min(wanted.stop + CONTEXT, shot.stop)]
    states = (
        FrameState.read(number, frame.astype(np.float32) / np.float32(255))
        for number, frame in enumerate(read, start=first)
    )
    stream = restorer_of(size, 1, None).run(
        states,
        deflicker=is_unsteady(np.stack(film.frames[shot.start : shot.stop])),
        wanted=wanted,
        grain=1.0,
        scratches=film.scratches(shot),
        limits=LOOSEST,
        watch=watch,
    )
    found: dict[int, _Frame] = {}
    for one in stream:
        source, labels, gone = looked.pop(one.index)
        picture = np.clip(np.rint(255 * one.image), 0, 255).astype(np.uint8)
        found[one.index] = _Frame(source, sharp_luma(picture), labels, gone)
    return found


def likely(facts: Facts) -> Facts:
    """The facts of the regions that any limits could repair; the others decide over nothing."""
    likely = facts.odds >= LEAST_ODDS
    return facts._replace(
        regions=tuple(itertools.compress(facts.regions, likely)),
        odds=facts.odds[likely],
        moved=facts.moved[likely],
        alarms=facts.alarms[likely],
        crowd=facts.crowd[likely],
        ridges=facts.ridges[likely],
    )


def masks_of(frame: FrameState) -> tuple[NDArray[np.int32], Mask]:
    """The labels of a frame's regions, and what the network removes of it."""
    return Seen.of(frame).labels, removed(frame, change_in(frame))


def _views(film: Film, labels: Sequence[Label], frames: Mapping[int, _Frame]) -> Iterator[View]:
    trio: tuple[int, Trio] | None = None
    for label in labels:
        at = label.frame
        alone = label.name in STANDING or label.name == STANDING_SCRATCH
        flows: Sequence[Plane] = ()
        if not alone:
            if trio is None or trio[0] != at:
                trio = at, Trio.of(*(film.frames[at + side] for side in (-1, 0, 1)))
            flows = trio[1].flows
        numbers = [at] if alone else [at, at - 1, at + 1]
        planes = [sharp_luma(film.frames[number]) for number in numbers]
        core = Core.of(_departure(label, label.box, planes, flows))
        window = _window(label.box, flows, planes[0].shape)
        x, y, width, height = label.box
        box = x - window[1].start, y - window[0].start, width, height
        pieces = [_piece(number, frames[number], window) for number in numbers]
        parts = [flow[window].astype(np.float16) for flow in flows]
        yield View(label, box, core, pieces, parts)


def _piece(number: int, frame: _Frame, window: tuple[slice, slice]) -> Piece:
    labels = frame.labels[window]
    return Piece(
        number,
        frame.source[window].astype(np.float16),
        frame.repaired[window].astype(np.float16),
        labels.copy(),
        frame.removed[window].copy(),
        frozenset(np.unique(labels).tolist()) - {0},
    )


def _window(box: Box, flows: Sequence[Plane], shape: Sequence[int]) -> tuple[slice, slice]:
    """The rows and columns around a box that decide over it."""
    x, y, width, height = box
    by = margin_of(box) + AROUND
    if flows:
        rows, columns = (
            slice(max(y - by, 0), y + height + by),
            slice(max(x - by, 0), x + width + by),
        )
        by += int(max(float(np.abs(flow[rows, columns]).max()) for flow in flows))
    return (
        slice(max(y - by, 0), min(y + height + by, shape[0])),
        slice(max(x - by, 0), min(x + width + by, shape[1])),
    )


def _departure(
    label: Label, box: Box, planes: Sequence[Plane], flows: Sequence[NDArray[np.floating]]
) -> Plane:
    """How far a place stands out, of luma (h, w) of its frame and of the one before and after."""
    if label.name == STANDING_SCRATCH:
        return of_sides(planes[0], box)
    blurred = [cv2.GaussianBlur(plane, (0, 0), BLUR_SIGMA) for plane in planes]
    if not flows:
        return of_surroundings(blurred[0], box)
    here, before, after = blurred
    earlier, later = (flow.astype(np.float32) for flow in flows)
    return of_neighbours(Trio(here, (before, after), (earlier, later)), box)


def read(folder: Path) -> list[Recorded]:
    """Read what `main` wrote below a folder; the files are trusted."""
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]


def main(films: Path, out: Path, size: str = "base", labels: str | Path = LABELS) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tasks = tasks_of(films, load(Path(labels)))
    for film in over_clips(partial(record, size=size), tasks, 1, "recorded"):
        (out / f"{film.name}.pickle").write_bytes(pickle.dumps(film))
        output.say(f"{film.name}: {len(film.views)} places")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(f"give the folder of the films: {__doc__}")
    # Files name the module of what they hold: that must not be `__main__`.
    from jobs.evaluate.real import recorded  # noqa: PLW0406

    recorded.main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
