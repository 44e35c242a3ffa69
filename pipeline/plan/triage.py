"""What is damaged in a clip, and where, before anything is restored: its shots, each of them clean,
damaged, or no picture at all.

Damage is named in the words of the A/V Artifact Atlas (BAVC). Scratches, dirt and dropouts are
what the model's defect map shows in a few frames of each shot, told apart by their shape; flicker
is what the survey found; noise and macroblocking are measured (`pipeline.detect.metrics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from pipeline.detect.measure import planes_to_luma
from pipeline.detect.metrics import blockiness, noise_sigma
from pipeline.media.decoder import Decoder
from pipeline.restore import pixel_format
from pipeline.sources.fetch import fetched
from pipeline.survey import survey_clip
from schemas.recipe import Recipe

SAMPLES = 3  # frames of a shot that are looked at, with those around them
REACH = max(OFFSETS)
# Thresholds, from clean and aged validation clips
# (docs/experiments/2026-11-23-triage-thresholds.md).
# An upright mark of this much of the height is a scratch, a level one of the width a dropout.
LINE = 0.2
SLENDER = 6  # times as long as wide
DIRT_SHARE = 1.1e-3  # of the pixels
NOISE = 5.0  # code values
BLOCKS = 1.15  # step across the 8x8 grid over the step inside it

Mask = NDArray[np.bool_]


class Marks(NamedTuple):
    """What a defect map shows: upright lines, level lines, and the share of pixels in the rest."""

    scratches: int
    dropouts: int
    dirt: float


@dataclass(frozen=True)
class Triaged:
    """A shot: frames [start, stop), when it begins, what it is and what is damaged in it."""

    start: int
    stop: int
    seconds: float
    kind: str  # clean, damaged, or why it is left alone: flat, bars, slate
    damage: tuple[str, ...]


def triage(clip: Clip, recipe: Recipe, cache: Path, restorer: Restorer) -> list[Triaged]:
    """Every shot of a clip. Raises ClipFault."""
    survey = survey_clip(clip, recipe, cache)
    origin, base = survey.pts[0], survey.probe.time_base
    with (
        fetched(survey.source_uri, cache) as source,
        Decoder(source, recipe.limits, conversion=survey.conversion) as decoder,
    ):
        frames: Iterable[Frame] = fields_of(decoder, 0) if survey.by_fields else decoder
        return [
            Triaged(
                shot.start, shot.stop, float((survey.pts[shot.start] - origin) * base),
                shot.left or ("damaged" if damage else "clean"), damage,
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
        yield shot, damage_of(seen, survey, restorer, shot.flickers) if seen else ()


def samples(shot: Shot) -> list[range]:
    """The frames looked at, evenly over the shot, each with its neighbours in it."""
    length = shot.stop - shot.start
    count = min(SAMPLES, length)
    centres = [shot.start + length * (2 * k + 1) // (2 * count) for k in range(count)]
    found = []
    for centre in centres:
        reach = min(REACH, centre - shot.start, shot.stop - 1 - centre)
        found.append(range(centre - reach, centre + reach + 1))
    return found


def damage_of(
    seen: Sequence[Sequence[Frame]], survey: Survey, restorer: Restorer, flickers: bool
) -> tuple[str, ...]:
    """The damage that samples of one shot show; most of them must, but for dropouts, which come and
    go.
    """
    probe = survey.probe
    pixels = pixel_format(probe)
    marks = [marks_in(restorer.defects([pixels.to_rgb(f.planes) for f in s])) for s in seen]
    middles = [sample[len(sample) // 2] for sample in seen]
    lumas = [planes_to_luma(f.planes, probe.pix_fmt, probe.bit_depth) for f in middles]
    found = {
        "scratches": np.median([mark.scratches for mark in marks]) >= 1,
        "dirt": np.median([mark.dirt for mark in marks]) >= DIRT_SHARE,
        "dropout": sum(mark.dropouts for mark in marks) >= 1,
        "flicker": flickers,
        "noise": np.median([noise_sigma(luma) for luma in lumas]) >= NOISE,
        "macroblocking": np.median([blockiness(luma) for luma in lumas]) >= BLOCKS,
    }
    return tuple(name for name, there in found.items() if there)


def marks_in(mask: Mask) -> Marks:
    """The marks of a defect map (H, W), told apart by their shape."""
    height, width = mask.shape
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    marks = boxes[1:]  # the first is the ground
    wide, high = marks[:, cv2.CC_STAT_WIDTH], marks[:, cv2.CC_STAT_HEIGHT]
    upright = (high >= LINE * height) & (high >= SLENDER * wide)
    level = (wide >= LINE * width) & (wide >= SLENDER * high)
    rest = marks[~(upright | level), cv2.CC_STAT_AREA].sum()
    return Marks(int(upright.sum()), int(level.sum()), float(rest) / mask.size)
