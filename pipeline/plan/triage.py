"""Find damage in a clip before anything is restored. Each shot is clean, damaged or unsure.

The survey decides whether a shot is clean, as it does in a run (`pipeline.detect.clean`). In every
other shot, the model's defect map of a few frames shows scratches, dirt and dropouts; their shapes
differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion.alignment import OFFSETS
from models.restorer import Restorer
from pipeline.clip.clip import Clip
from pipeline.clip.fields import fields_of
from pipeline.clip.frames import Frame
from pipeline.clip.shards import Shot
from pipeline.clip.survey import Survey
from pipeline.media.decoder import Decoder
from pipeline.restore import pixel_format
from pipeline.sources.fetch import fetched
from pipeline.survey import survey_clip
from schemas.recipe import Recipe

SAMPLES = 3  # frames of a shot that are examined, with their neighbours
REACH = max(OFFSETS)
# Limits, from clean and aged validation clips
# (docs/experiments/2026-11-23-triage-thresholds.md).
# An upright mark over LINE of the height is a scratch. A level mark over LINE of the width is a
# dropout. Both are SLENDER times as long as wide.
LINE = 0.2
SLENDER = 6
UNSURE = ("short", "monochrome", "interlaced", "missing")  # no damage, but no proof of none
DIRT_SHARE = 1.1e-3  # of the pixels

Mask = NDArray[np.bool_]


class Marks(NamedTuple):
    """Marks of a defect map: upright lines, level lines, and the share of pixels in the rest."""

    scratches: int
    dropouts: int
    dirt: float


@dataclass(frozen=True)
class Triaged:
    """A shot: frames [start, stop), its begin in seconds, its kind and its damage."""

    start: int
    stop: int
    seconds: float
    kind: str  # clean, damaged or unsure; or why it is not restored: flat, bars, slate, asked
    damage: tuple[str, ...]  # what was found, or why the shot cannot be called clean


def triage(clip: Clip, recipe: Recipe, cache: Path, restorer: Restorer) -> list[Triaged]:
    """Every shot of a clip. Raises ClipFault.

    Clean shots are looked for even if the recipe restores them.
    """
    survey = survey_clip(clip, replace(recipe, clean="leave", strength=1.0), cache)
    origin, base = survey.pts[0], survey.probe.time_base
    with (
        fetched(survey.source_uri, cache) as source,
        Decoder(source, recipe.limits, conversion=survey.conversion) as decoder,
    ):
        frames: Iterable[Frame] = fields_of(decoder, 0) if survey.by_fields else decoder
        return [
            Triaged(
                shot.start, shot.stop, float((survey.pts[shot.start] - origin) * base),
                shot.left or ("damaged" if {*damage} - {*UNSURE} else "unsure"), damage,
            )
            for shot, damage in _shots(frames, survey, restorer)
        ]  # fmt: skip


def _shots(
    frames: Iterable[Frame], survey: Survey, restorer: Restorer
) -> Iterator[tuple[Shot, tuple[str, ...]]]:
    frames = iter(frames)
    for shot in survey.shots:
        wanted = [] if shot.left else samples(shot)
        needed = {index for window in wanted for index in window}
        whole = islice(frames, shot.stop - shot.start)
        held = {frame.index: frame for frame in whole if frame.index in needed}
        seen = [[held[index] for index in window] for window in wanted]
        surveyed = shot.found.split(", ") if shot.found else []
        yield shot, (*surveyed, *(damage_of(seen, survey, restorer) if seen else ()))


def samples(shot: Shot) -> list[range]:
    """The examined frames, evenly spaced over the shot, each with its neighbours in the shot."""
    length = shot.stop - shot.start
    count = min(SAMPLES, length)
    centres = [shot.start + length * (2 * k + 1) // (2 * count) for k in range(count)]
    found = []
    for centre in centres:
        reach = min(REACH, centre - shot.start, shot.stop - 1 - centre)
        found.append(range(centre - reach, centre + reach + 1))
    return found


def damage_of(
    seen: Sequence[Sequence[Frame]], survey: Survey, restorer: Restorer
) -> tuple[str, ...]:
    """The damage that the model sees in samples of one shot.

    The median of the samples decides. Dropouts come and go, so one sample is enough.
    """
    pixels = pixel_format(survey.probe)
    marks = [marks_in(restorer.defects([pixels.to_rgb(f.planes) for f in s])) for s in seen]
    found = {
        "scratches": np.median([mark.scratches for mark in marks]) >= 1,
        "dirt": np.median([mark.dirt for mark in marks]) >= DIRT_SHARE,
        "dropout": sum(mark.dropouts for mark in marks) >= 1,
    }
    return tuple(name for name, there in found.items() if there)


def marks_in(mask: Mask) -> Marks:
    """The marks of a defect map (H, W), sorted by shape."""
    height, width = mask.shape
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    marks = boxes[1:]  # the first box is the background
    wide, high = marks[:, cv2.CC_STAT_WIDTH], marks[:, cv2.CC_STAT_HEIGHT]
    upright = (high >= LINE * height) & (high >= SLENDER * wide)
    level = (wide >= LINE * width) & (wide >= SLENDER * high)
    rest = marks[~(upright | level), cv2.CC_STAT_AREA].sum()
    return Marks(int(upright.sum()), int(level.sum()), float(rest) / mask.size)
