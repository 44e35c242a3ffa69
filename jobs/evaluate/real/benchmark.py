"""Restores what the labels need of each film, and measures every place before and after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jobs.evaluate.evaluate import is_unsteady, over_clips, restorer_of
from jobs.evaluate.real import labels as labelled
from jobs.evaluate.real.classes import STANDING, STANDING_SCRATCH
from jobs.evaluate.real.film import Film, Picture
from jobs.evaluate.real.labels import Label
from jobs.evaluate.real.stand_out import (
    LEAST,
    Core,
    Plane,
    Trio,
    luma,
    of_neighbours,
    of_sides,
    of_surroundings,
    share_gone,
    sharp_luma,
)
from jobs.evaluate.real.table import markdown, summarise
from schemas.errors import ArchiveError

Frames = Mapping[int, Picture]  # by their numbers
Restore = Callable[[Film, range, range], Frames]  # film, its shot, wanted frames


@dataclass(frozen=True)
class Place:
    """A label, how far it stands out of the source, and the share of that which is gone."""

    label: Label
    stand_out: float  # code values
    gone: float

    def row(self, size: str) -> dict[str, object]:
        facts = {"size": size, "stand_out": round(self.stand_out, 2), "gone": round(self.gone, 4)}
        return self.label.entry() | facts


def restore_with_model(
    film: Film,
    shot: range,
    wanted: range,
    size: str,
    steps: int = 1,
    weights: Path | None = None,
    grain: float = 1.0,
) -> Frames:
    """Restore ``wanted`` frames of a shot as the pipeline does, with the context they need."""
    from models.restorer import CONTEXT  # torch: imported only if it is used

    first = max(wanted.start - CONTEXT, shot.start)
    read = film.frames[first : min(wanted.stop + CONTEXT, shot.stop)]
    stream = restorer_of(size, steps, weights).stream(
        [frame.astype(np.float32) / np.float32(255) for frame in read],
        deflicker=is_unsteady(np.stack(film.frames[shot.start : shot.stop])),
        first_index=first,
        wanted=wanted,
        grain=grain,
        scratches=film.scratches(shot),
    )
    pictures = (np.clip(np.rint(255 * one.image), 0, 255).astype(np.uint8) for one in stream)
    return dict(zip(wanted, pictures, strict=True))


def stretches(film: Film, labels: Iterable[Label]) -> Iterator[tuple[range, range]]:
    """Shots and ranges of frames that the labels need: each labelled frame and its neighbours."""
    from models.restorer import CONTEXT

    needed: set[int] = set()
    for label in labels:
        shot = film.shot(label.frame)
        needed |= {at for at in range(label.frame - 1, label.frame + 2) if at in shot}
    for shot in film.shots:
        inside = sorted(needed & set(shot))
        while inside:
            # Two short ranges cost more than one that also holds the frames between them.
            last = inside[0]
            for at in inside:
                last = at if at - last <= CONTEXT // 4 else last
            yield shot, range(inside[0], last + 1)
            inside = [at for at in inside if at > last]


def measure(film: Film, restored: Frames, labels: Iterable[Label]) -> list[Place]:
    """Measure the places of one film, in the source and in the restored film."""
    source = _Side(dict(enumerate(film.frames)), film)
    after = _Side(restored, film)
    found: list[Place] = []
    for label in labels:
        core = Core.of(source.departure(label))
        found.append(Place(label, core.stand_out, share_gone(core, after.departure(label))))
    return found


class _Side:
    """Departures of places in the source or in the restored film; keeps one frame's motion."""

    def __init__(self, frames: Frames, film: Film) -> None:
        self._frames = frames
        self._film = film
        self._trio: tuple[int, Trio] | None = None

    def departure(self, label: Label) -> Plane:
        at = label.frame
        if label.name == STANDING_SCRATCH:
            return of_sides(sharp_luma(self._frames[at]), label.box)
        if label.name in STANDING:
            return of_surroundings(luma(self._frames[at]), label.box)
        if not self._film.has_neighbours(at):
            raise ArchiveError(
                f"{label.clip}, frame {at}: a label needs both neighbours in its shot"
            )
        if self._trio is None or self._trio[0] != at:
            self._trio = at, Trio.of(*(self._frames[at + side] for side in (-1, 0, 1)))
        return of_neighbours(self._trio[1], label.box)


Task = tuple[Path, tuple[Label, ...]]


def measure_film(task: Task, restore: Restore) -> list[Place]:
    """Read one film, restore what its labels need, and measure its places."""
    path, labels = task
    film = Film.read(path)
    check(film, labels)
    restored: dict[int, Picture] = {}
    for shot, wanted in stretches(film, labels):
        restored |= restore(film, shot, wanted)
    return measure(film, restored, sorted(labels))


def check(film: Film, labels: Iterable[Label]) -> None:
    """Raise ArchiveError for a label that lies outside of its film."""
    for label in labels:
        height, width = film.frames[0].shape[:2]
        x, y, box_width, box_height = label.box
        if label.frame >= len(film.frames) or x + box_width > width or y + box_height > height:
            raise ArchiveError(f"not in the film: {label.entry()}")


def tasks_of(folder: Path, labels: Sequence[Label]) -> list[Task]:
    """Return the films of the labels. Raises ArchiveError if the folder lacks one."""
    clips = sorted({label.clip for label in labels})
    missing = [clip for clip in clips if not (folder / clip).is_file()]
    if missing:
        raise ArchiveError(f"{folder} lacks films that the labels name: {', '.join(missing)}")
    return [
        (folder / clip, tuple(label for label in labels if label.clip == clip)) for clip in clips
    ]


def real_command(
    folder: Path,
    out: Path,
    sizes: Sequence[str] = ("base",),
    *,
    labels: Path | None = None,
    steps: int = 1,
    weights: Path | None = None,
    jobs: int = 1,
) -> dict[str, object]:
    """Score the model on the labelled films of a folder; write real.json and real.md below ``out``.

    Returns the same facts, ready for JSON: ``rows`` by class, by film and over all, ``places`` one
    row for each label, ``markdown`` the tables as text. Places that stand out of the source by
    less than LEAST are listed and not counted.
    """
    if weights and len(sizes) > 1:
        raise ArchiveError("--weights needs exactly one --size: weights fit one size only")
    tasks = tasks_of(folder, labelled.load(labels or labelled.LABELS))
    places: list[dict[str, object]] = []
    for size in sizes:
        restore = partial(restore_with_model, size=size, steps=steps, weights=weights)
        work = partial(measure_film, restore=restore)
        measured = over_clips(work, tasks, jobs, f"measured with {size}")
        places += [place.row(size) for film in measured for place in film]
    counted = [place for place in places if float(str(place["stand_out"])) >= LEAST]
    rows = summarise(counted)
    answer: dict[str, object] = {
        "folder": str(folder),
        "model": {"sizes": list(sizes), "steps": steps, "weights": str(weights or "shipped")},
        "rows": rows,
        "not_counted": len(places) - len(counted),
        "places": places,
        "markdown": markdown(rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "real.md").write_text(f"{answer['markdown']}\n", encoding="utf-8")
    (out / "real.json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
    return answer
