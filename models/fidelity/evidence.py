"""Evidence before repair: which regions are defects, and which may be real things.

Dust is there in one frame, on a background that the neighbouring frames show. A limb stands out
because its match failed: its surroundings differ as well, and a small displacement explains much of
it. Falling ice looks like dust in one frame, and lies on a path through several.

Only a region with evidence of a defect is repaired. Everything else that the network would remove
is a suspect, and keeps the pixels of the source.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.fidelity.compared import Plane
from models.fidelity.decision import (
    SHIPPED,
    UNLIKE,
    UNSEEN,
    Facts,
    Limits,
    decide,
    has_path,
)
from models.fidelity.edges import at_shifted_edges, is_upright, ridges, rim_steps
from models.fidelity.masks import (
    commonest,
    dilated,
    parts_of,
    pixels_of,
    soft,
    suspect_share,
)
from models.fidelity.on_device import applied_there
from models.fidelity.paths import PATH_REACH, false_alarms
from models.fidelity.regions import (
    Mask,
    Measures,
    Seen,
    change_in,
    crowds,
    luma_in,
)
from models.frame_state import Box, FrameState, Repair, Suspects, Why
from models.motion.neighbourhood import neighbourhoods

TRAVELLERS_REACH = 1  # frames each side in which things in motion are counted
EVIDENCE_REACH = PATH_REACH + TRAVELLERS_REACH  # frames each side that a decision depends on

# Log odds of a defect: a weighted sum of the measures, less their mean, over their deviation.
# Fitted to simulated film (docs/experiments/2026-11-30-evidence-of-defects.md).
MEANS = (0.108, 0.041, 0.737, 1.118, 0.441, 1.248)
DEVIATIONS = (0.191, 0.139, 0.429, 0.646, 0.091, 0.702)
WEIGHTS = (0.332, 0.461, 0.755, -0.404, 0.365, -0.128)
BIAS = -1.767
MOST_DEVIATIONS = 3.0  # beyond this a measure counts no more

# Code values by which the network removes something: the largest of the first, and of the others
# times the noise and times the predicted error.
REMOVED_FROM = 12.0, 3.0, 2.0
DEFECT = 0.5  # the network's weight of a defect from which a scratch is looked for
MARKED = 0.5  # share of a scratch's pixels that the network marks as a defect
SCRATCH_SHARES = 1 / 8, 1 / 6  # of the height: the largest gap in a scratch, and its least length
LEFT = 0.35  # share of how far a defect stands out from which the neighbours fill it
AROUND_DEFECT = 7  # pixels: side of the square around a defect that belongs to it


Accepted = Mapping[int, Sequence[Box]]  # suspects to repair, by frame: their boxes


class _Looked(NamedTuple):
    """A frame, what stands out in it, and what a decision rests on."""

    frame: FrameState
    seen: Seen
    facts: Facts


class _Decided(NamedTuple):
    """What was decided about a frame."""

    found: Mask  # pixels of the regions with evidence of a defect, (H, W)
    defects: Mask  # what is repaired: they, with their surroundings
    left: Mask  # of those, what the network leaves
    suspects: Mask
    repairs: tuple[Repair, ...]


def find_suspects(
    frames: Iterable[FrameState],
    suspects: Suspects = "leave",
    accepted: Accepted | None = None,
    limits: Limits = SHIPPED,
) -> Iterator[FrameState]:
    """The frames in order, each with its defects, its suspects and a record of every region.

    ``defects`` is then what is repaired, (H, W) in [0, 1]. With `scratches`, long upright lines
    that the network marks are repaired too. With `repair`, suspects are recorded as repairs, no
    pixel is a suspect, and ``defects`` has the network's as well. What a person ``accepted`` is
    repaired, whatever it looks like.
    """
    for around in neighbourhoods(_looked(frames, limits), TRAVELLERS_REACH):
        frame = around[0].frame
        decided = _decide(around, limits, lines=suspects == "scratches")
        if accepted and (boxes := accepted.get(frame.index)):
            decided = _with_accepted(decided, boxes)
        settle = _all_repaired if suspects == "repair" else _settled
        settled = settle(frame, decided)
        yield _filled(settled, around[0].seen, decided.left)


def _with_accepted(decided: _Decided, boxes: Sequence[Box]) -> _Decided:
    """What was decided, but for the suspects that a person accepted: they are repaired."""
    suspects, defects = decided.suspects.copy(), decided.defects.copy()
    repairs = list(decided.repairs)
    for number, one in enumerate(decided.repairs):
        if one.decision == "suspect" and any(is_same(one.box, box) for box in boxes):
            x, y, wide, high = one.box
            window = np.zeros_like(suspects)
            window[y : y + high, x : x + wide] = suspects[y : y + high, x : x + wide]
            suspects &= ~window
            defects |= grown(window)
            repairs[number] = one._replace(decision="repair", why="accepted")
    return decided._replace(suspects=suspects, defects=defects, repairs=tuple(repairs))


def is_same(one: Box, other: Box) -> bool:
    """Whether two boxes are of one region: they have most of their pixels in common."""
    sides = [
        max(0, min(one[at] + one[at + 2], other[at] + other[at + 2]) - max(one[at], other[at]))
        for at in (0, 1)
    ]
    common = sides[0] * sides[1]
    return 2 * common > one[2] * one[3] + other[2] * other[3] - common


def _settled(frame: FrameState, decided: _Decided) -> FrameState:
    return replace(
        frame,
        defects=torch.from_numpy(soft(decided.defects)),
        suspects=decided.suspects if decided.suspects.any() else None,
        repairs=decided.repairs,
    )


def _all_repaired(frame: FrameState, decided: _Decided) -> FrameState:
    assert frame.defects is not None
    defects = torch.maximum(frame.defects, torch.from_numpy(soft(decided.found)))
    records = tuple(record._replace(decision="repair") for record in decided.repairs)
    return replace(frame, defects=defects, repairs=records)


def apply_decisions(frames: Iterable[FrameState]) -> Iterator[FrameState]:
    """The frames with the source's pixels where a suspect is, and with the neighbours' where the
    network leaves a defect.
    """
    for frame in frames:
        if frame.on_device is not None:
            yield applied_there(frame)
            continue
        image = frame.image
        if frame.fill is not None and frame.neighbours is not None:
            image = image + frame.fill[..., None] * (frame.neighbours - image)
        if frame.suspects is not None:
            share = suspect_share(frame.suspects)[..., None]
            image = image + share * (frame.source - image)
        yield replace(frame, image=image)


def log_odds(measures: Measures) -> NDArray[np.float64]:
    """Log odds (N,) that each region is a defect and not a thing."""
    total = np.full(len(measures.moved), BIAS)
    for values, mean, deviation, weight in zip(measures, MEANS, DEVIATIONS, WEIGHTS, strict=True):
        total += weight * np.clip((values - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return total


def _looked(frames: Iterable[FrameState], limits: Limits) -> Iterator[_Looked]:
    """The frames with what stands out in each, and what a decision about it rests on."""
    pairs = ((frame, Seen.of(frame)) for frame in frames)
    for around in neighbourhoods(pairs, PATH_REACH):
        frame, here = around[0]
        others = {offset: seen for offset, (_, seen) in around.items() if offset}
        odds = log_odds(
            here.with_neighbours(seen for offset, seen in others.items() if abs(offset) == 1)
        )
        alarms = [
            false_alarms(region, here, others) if has_path(region, value, limits) else UNSEEN
            for region, value in zip(here.regions, odds, strict=True)
        ]
        facts = Facts(
            here.regions,
            here.labels.size,
            odds,
            here.measures.moved,
            np.array(alarms),
            at_shifted_edges(here.regions, luma_in(frame)),
            rim_steps(frame, here.regions),
            _crowd(here, odds),
            int((odds < UNLIKE).sum()),
            _ridges(frame, here, odds >= limits.stain_from),
        )
        yield _Looked(replace(frame, facts=facts), here, facts)


def _unlike(seen: Seen, odds: NDArray[np.float64]) -> list[Box]:
    """The boxes of the regions that are unlike dust."""
    return [region.box for region in itertools.compress(seen.regions, odds < UNLIKE)]


def _crowd(seen: Seen, odds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many other regions around each region are unlike dust, (N,)."""
    boxes = [region.box for region in seen.regions]
    counts = crowds(boxes, _unlike(seen, odds), *seen.labels.shape)
    return np.array(counts, np.int64) - (odds < UNLIKE)


def _ridges(frame: FrameState, seen: Seen, likely: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The ridge under each region that may be a defect, (N,); 0 for the others."""
    found = np.zeros(len(likely))
    found[likely] = ridges(frame, list(itertools.compress(seen.regions, likely)), seen.labels)
    return found


def _decide(around: Mapping[int, _Looked], limits: Limits, lines: bool) -> _Decided:
    """What is a defect in the middle frame, what is a suspect, and why.

    With ``lines``, what the network takes for a scratch is a defect, also if it is there in several
    frames.
    """
    frame, seen, facts = around[0]
    odds = facts.odds
    why = decide(facts, [one.facts for one in around.values()], limits)
    found = [region for region in seen.regions if region.label not in why]
    change = change_in(frame)
    scratches = _scratches(frame, change) if lines else np.zeros(seen.labels.shape, bool)
    pixels = np.isin(seen.labels, [region.label for region in found])
    defects = grown(pixels | scratches)
    left = [
        region.label
        for region, moved in zip(seen.regions, seen.measures.moved, strict=True)
        if moved < 1 - LEFT and region.label not in why
    ]
    suspects = removed(frame, change) & ~defects
    repairs = [  # as far as it stands out: the network may leave it, and the neighbours fill it
        Repair(
            region.box, region.area, region.bright, region.mean, "repair",
            _reason(value, crowd, limits), _probability(value),
        )
        for region, value, crowd in zip(seen.regions, odds, facts.crowd, strict=True)
        if region.label not in why
    ]  # fmt: skip
    labels, parts = parts_of(scratches)
    repairs += [_record(box, labels, label, change, "upright", "repair") for label, box in parts]
    labels, parts = parts_of(suspects)
    for label, box in parts:
        otherwise: Why = "upright" if is_upright(box) else "unlike_dust"
        like = commonest(seen.labels, labels, label, box)
        record = _record(box, labels, label, change, why.get(like, otherwise), "suspect")
        known = _probability(odds[like - 1]) if like in why else None
        repairs.append(record._replace(probability=known))
    kept = np.isin(labels, [label for label, _ in parts])
    counted = tuple(_with_crowds(repairs, _unlike(seen, odds), seen.labels.shape))
    return _Decided(pixels, defects, grown(np.isin(seen.labels, left)), kept, counted)


def _with_crowds(
    repairs: Sequence[Repair], unlike: Sequence[Box], size: tuple[int, ...]
) -> Iterator[Repair]:
    """The records, each with how many others around it are unlike dust."""
    height, width = size
    counts = crowds([one.box for one in repairs], unlike, height, width)
    for one, count in zip(repairs, counts, strict=True):
        own = one.why in ("unlike_dust", "apart") and count > 0
        yield one._replace(crowd=count - own)


def _reason(odds: float, crowd: int, limits: Limits) -> Why:
    """Why a region is repaired."""
    if odds >= limits.clear_from:
        return "clear"
    return "apart" if limits.is_apart(odds, crowd) else "one_frame"


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def removed(frame: FrameState, change: Plane) -> Mask:
    """Where the network removes something, (H, W); ``change`` is without exposure, code values."""
    return np.abs(change) > _removed_from(frame)


def grown(mask: Mask) -> Mask:
    """A mask with the surroundings that belong to a defect."""
    return dilated(mask, AROUND_DEFECT)


def _removed_from(frame: FrameState) -> float:
    """Code values from which a change is more than less noise and fewer coding errors."""
    least, per_noise, per_error = REMOVED_FROM
    return max(least, per_noise * (frame.noise or 0.0), per_error * frame.predicted_error)


def _scratches(frame: FrameState, change: Plane) -> Mask:
    """Long upright lines that the network removes, whole, also where it leaves parts, (H, W)."""
    assert frame.defects is not None  # the network stage found them
    marked = frame.defects.numpy() > DEFECT
    taken = marked | removed(frame, change)
    gap, long = (max(int(share * len(change)), 1) for share in SCRATCH_SHARES)
    upright = taken.astype(np.uint8)
    for way, side in ((cv2.MORPH_CLOSE, gap), (cv2.MORPH_OPEN, long)):
        upright = cv2.morphologyEx(upright, way, np.ones((side, 1), np.uint8))
    labels, parts = parts_of(upright > 0)
    lines = [
        label
        for label, box in parts
        if is_upright(box) and marked[labels == label].mean() >= MARKED
    ]
    return np.isin(labels, lines)


def _filled(frame: FrameState, seen: Seen, left: Mask) -> FrameState:
    """The frame, to be filled by its neighbours, in its own exposure, where a defect is left."""
    if not left.any() or (frame.neighbours is None and frame.on_device is None):
        return replace(frame, neighbours=None)
    if frame.neighbours is None or seen.lighter is None:  # they are on the device
        return replace(frame, fill=soft(left))
    lit = frame.neighbours + seen.lighter[..., None] / np.float32(255)
    return replace(frame, neighbours=lit, fill=soft(left))


def _record(
    box: Box,
    labels: NDArray[np.int32],
    label: int,
    change: Plane,
    why: Why,
    decision: Literal["repair", "suspect"],
) -> Repair:
    window, own = pixels_of(labels, label, box)
    values = change[window][own]
    bright = bool(values.mean() > 0)
    return Repair(box, int(own.sum()), bright, float(np.abs(values).mean()), decision, why)
