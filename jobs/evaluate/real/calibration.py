"""Footage that no labelled film has a part in, on which limits of the evidence are chosen.

`python -m jobs.evaluate.real.calibration FOOTAGE OUT [SIZE]` takes every clip of FOOTAGE as one
short film that is clean and one or two that are made worse, restores each, and writes
OUT/calibration.pickle. FOOTAGE holds clips without dust. All random numbers are fixed.

- plain: the clip itself. Whatever would be repaired there is real.
- sparse: some dust, and in half of the films a few things that travel.
- dirty: dust, stains, scratches, blotches, and in half of the films things in motion.
- swarm: many things that travel, as ice or snow; in half of the films some dust.

The simulator's masks say which regions are defects. A region outside of them that stands out far
enough is a real thing.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.console import output
from jobs.evaluate.evaluate import is_unsteady, over_clips, restorer_of
from jobs.evaluate.real.recorded import LEAST_STRENGTH, LOOSEST, likely, masks_of
from jobs.evaluate.samples import find_clips
from models.damage.presets import ACCESS_TRAIN, PRESETS, Slot, one
from models.damage.simulator import age_by, random_stream
from models.damage.things import add_things, travelling
from models.fidelity.decision import Facts
from models.frame_state import FrameState, number_frames
from pipeline.media.rgb import codec_round_trip, read_rgb
from schemas.errors import ArchiveError

Kind = Literal["plain", "sparse", "dirty", "swarm"]
WORSE: Sequence[Kind] = ("sparse", "dirty", "swarm")
FRAMES = {"plain": 10, "sparse": 16, "dirty": 14, "swarm": 14}
LONGEST = 300, 440  # pixels of the longer side, drawn for each film
MONOCHROME, CODED = 0.7, 0.5  # share of the films without colour; of the plain ones, coded
THINGS, DUST_IN_SWARM, REPEATED = 0.5, 0.5, 0.3  # share of the films that have them
REPEATS = 3, 5  # every third to fifth frame is there twice, as after a change of frame rate
FEW, MANY = (1, 7), (30, 160)  # things that travel
SWARM_SPEED, SWARM_RADIUS = (1.5, 30), (1, 8)
DEFECT_MASKS = ("dust", "blotch", "scratch")
DEFECT_FROM, REAL_TO = 0.4, 0.05  # share of a region in the simulator's masks
CODING = ACCESS_TRAIN[-1]
SPARSE = (
    one(0.5, "blur", sigma_px=(0.3, 1.1)),
    one(0.3, "flicker", gain_sd=(0.005, 0.05), gamma_sd=(0, 0.05), rho=(0, 0.7)),
    one(0.7, "grain", strength=(1, 8), floor=(0.1, 1), bell=(0, 2.5), sigma_px=(0.3, 1.1),
        chroma=(0, 3)),
    one(1.0, "dust", rate=(0.1, 1.0), white_share=(0, 1), soft_share=(0, 1),
        least_opacity=(0.2, 0.7)),
    one(0.4, "gate_weave", weave_px=(0.1, 0.6), rho=(0.3, 0.9), turn_deg=0, jump_px=3,
        jump_chance=0),
    CODING,
)  # fmt: skip
DIRTY = "film_train", "access_train", "soiled_train"


class Planted(NamedTuple):
    """A calibration film: the facts of its frames, and what their regions are."""

    name: str
    kind: Kind
    facts: dict[int, Facts]
    # Of each frame, one value a region, (N,)
    defect: dict[int, NDArray[np.bool_]]
    real: dict[int, NDArray[np.bool_]]


class Task(NamedTuple):
    path: Path
    kind: Kind


class Made(NamedTuple):
    """A calibration film: frames (T, H, W, 3), where its defects are, and any damage, (T, H, W)."""

    frames: NDArray[np.uint8]
    defects: NDArray[np.bool_]
    damage: NDArray[np.bool_]


def tasks_of(clips: Sequence[Path]) -> list[Task]:
    """Every clip as a plain film, and as two that are worse; the kinds take turns."""
    return [
        Task(path, kind)
        for number, path in enumerate(clips)
        for kind in ("plain", WORSE[number % len(WORSE)], WORSE[(number + 1) % len(WORSE)])
    ]


def made(task: Task, photos: Sequence[NDArray[np.float32]]) -> Made:
    """A calibration film."""
    rng = random_stream(0, f"{task.path.stem} {task.kind}")
    clip = _cut(task, rng)
    things = rng.random()
    if task.kind == "sparse" and things < THINGS:
        travelling(clip, rng, count=int(rng.integers(*FEW)))
    if task.kind == "dirty" and things < THINGS:
        add_things(clip, rng, photos)
    if task.kind == "swarm":
        count = int(np.exp(rng.uniform(*np.log(MANY))))
        travelling(clip, rng, count, SWARM_SPEED, SWARM_RADIUS)
    slots = _slots(task.kind, rng)
    truth = np.clip(np.rint(clip), 0, 255).astype(np.uint8)
    aged = age_by(truth, slots, int(rng.integers(2**31)), codec_round_trip)
    defects = np.logical_or.reduce([aged.masks[name] for name in DEFECT_MASKS])
    damage = np.logical_or.reduce([*aged.masks.values()])
    film = Made(aged.frames, defects, damage)
    if task.kind == "plain" or rng.random() >= REPEATED:
        return film
    every = int(rng.integers(REPEATS[0], REPEATS[1] + 1))
    shown = [at - at // every for at in range(len(truth))]
    return Made(film.frames[shown], film.defects[shown], film.damage[shown])


def _cut(task: Task, rng: np.random.Generator) -> NDArray[np.float32]:
    """Some frames of a clip at a drawn size."""
    frames, count = list(read_rgb(task.path)), FRAMES[task.kind]
    if len(frames) < count:
        raise ArchiveError(f"{task.path} has {len(frames)} frames; {count} are needed")
    first = int(rng.integers(len(frames) - count + 1))
    height, width = frames[0].shape[:2]
    scale = min(rng.uniform(*LONGEST) / max(height, width), 1.0)
    size = int(width * scale) // 2 * 2, int(height * scale) // 2 * 2
    part = [
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        for frame in frames[first : first + count]
    ]
    clip = np.stack(part).astype(np.float32)
    if rng.random() < MONOCHROME:
        clip[:] = clip.mean(3, keepdims=True)
    return clip


def _slots(kind: Kind, rng: np.random.Generator) -> Sequence[Slot]:
    """What happens to a film of a kind."""
    if kind == "plain":
        return (CODING,) if rng.random() < CODED else ()
    if kind == "dirty":
        return PRESETS[DIRTY[int(rng.integers(len(DIRTY)))]]
    if kind == "swarm" and rng.random() >= DUST_IN_SWARM:
        return [slot for slot in SPARSE if slot.name != "dust"]
    return SPARSE


def record(task: Task, photos: Sequence[NDArray[np.float32]], size: str) -> Planted:
    """Make one calibration film, restore it, and keep what decides over its regions."""
    film = made(task, photos)
    name = f"{task.path.stem} {task.kind}"
    planted = Planted(name, task.kind, {}, {}, {})

    def watch(stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
        for frame in frames:
            if stage == "evidence" and frame.facts is not None:
                at, facts = frame.index, likely(frame.facts)
                planted.facts[at] = facts
                found = what_is(facts, masks_of(frame)[0], film, at)
                planted.defect[at], planted.real[at] = found
            yield frame

    states = number_frames(frame.astype(np.float32) / np.float32(255) for frame in film.frames)
    restored = restorer_of(size, 1, None).run(
        iter(states), deflicker=is_unsteady(film.frames), grain=1.0, limits=LOOSEST, watch=watch
    )
    for _ in restored:
        pass
    return planted


def what_is(
    facts: Facts, labels: NDArray[np.int32], film: Made, at: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which regions of a frame are defects, and which are real things, (N,) each.

    ``labels`` (H, W) are those of the regions, ``at`` is the frame's number. Weak regions and those
    that damage covers in part are neither.
    """
    numbers = [region.label for region in facts.regions]
    strong = np.array([region.strength >= LEAST_STRENGTH for region in facts.regions], bool)
    defects, damage = (_shares(labels, masks[at])[numbers] for masks in (film.defects, film.damage))
    return (defects >= DEFECT_FROM) & strong, (damage < REAL_TO) & strong


def _shares(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of every labelled region that lies in a mask, by label."""
    inside = np.bincount(labels.ravel(), weights=mask.ravel())
    return inside / np.maximum(np.bincount(labels.ravel()), 1)


def photos_of(folder: Path) -> list[NDArray[np.float32]]:
    """Pictures (H, W, 3) from which things in motion are cut."""
    pictures = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    found = [
        cv2.cvtColor(cv2.resize(picture, (640, 400)), cv2.COLOR_BGR2RGB).astype(np.float32)
        for picture in pictures
        if picture is not None
    ]
    if not found:
        raise ArchiveError(f"no picture in {folder}")
    return found


def read(path: Path) -> list[Planted]:
    """Read what `main` wrote; the file is trusted."""
    films: list[Planted] = pickle.loads(path.read_bytes())
    return films


def main(footage: Path, out: Path, size: str = "base") -> None:
    out.mkdir(parents=True, exist_ok=True)
    work = partial(record, photos=photos_of(footage / "photo"), size=size)
    films = over_clips(work, tasks_of(find_clips([footage / "video"])), 1, "calibration")
    (out / "calibration.pickle").write_bytes(pickle.dumps(films))
    for kind in ("plain", *WORSE):
        own = [film for film in films if film.kind == kind]
        counts = [
            sum(int(marks.sum()) for film in own for marks in getattr(film, mark).values())
            for mark in ("defect", "real")
        ]
        output.say(f"{kind}: {len(own)} films, {counts[0]} defects, {counts[1]} real things")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit("python -m jobs.evaluate.real.calibration FOOTAGE OUT [SIZE]: give the footage")
    # Files name the module of what they hold: that must not be `__main__`.
    from jobs.evaluate.real import calibration  # noqa: PLW0406

    calibration.main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
