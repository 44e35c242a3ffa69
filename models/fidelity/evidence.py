"""Evidence before repair: what lies on a path through three frames is a thing, not a defect.

Dust is there in one frame. A thing in motion is there in the frames around it as well, displaced:
falling ice, a hand, a thin cord that trembles. Where the network would remove a region, this stage
looks for regions like it in the frame before and the frame after, on a straight path at constant
speed. Such a region is a suspect: it keeps the pixels of the source.

The test is a-contrario detection (Desolneux, Moisan and Morel, From Gestalt Theory to Image
Analysis, 2008): a path counts if chance would hardly bring regions as close to it. The number of
regions in both frames sets what chance can do, so a frame full of dust needs a closer path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import FrameState, Image, Repair, Why

EVIDENCE_REACH = 1  # frames each side that the evidence for a frame depends on
LEAST_CHANGE = 20.0  # code values (mean of RGB) by which a removed region differs from its repair
CHANGE_PER_NOISE = 3.0  # code values more for each code value of noise: grain differs as well
LEAST_AREA = 20  # pixels
DEFECT = 0.5  # defect weight from which a pixel belongs to a repair
SEARCH = 1 / 5  # of the frame's width: how far a thing may move from one frame to the next
NEAR = 24.0  # pixels between the path and the regions, at most
ALIKE = 0.25, 4.0  # area of a region on the path over that of the suspect
CHANCE = 0.1  # paths as close that chance may bring, at most
# A scratch stands upright and is narrow. It stays in its place, as on a path without speed.
SCRATCH_WIDTH, SCRATCH_SLENDER = 10, 4  # pixels; times as high as wide
JOIN = 5  # pixels: parts of a region closer than this are one region
MARGIN = 2  # pixels around a suspect that keep the source as well

Mask = NDArray[np.bool_]


class Region(NamedTuple):
    """A region that the network would remove: centre (x, y) and area in pixels, and its sign."""

    x: float
    y: float
    area: int
    bright: bool
    upright: bool  # narrow and high: a scratch
    label: int
    box: tuple[int, int, int, int] = (0, 0, 0, 0)  # x, y, width, height in pixels


class _Seen(NamedTuple):
    """What can be seen in one frame: its repairs, and what differs from the frames around it.

    Video made from film repeats frames. What moves differs from one of two frames then, and not
    from both.
    """

    repairs: tuple[Region, ...]
    labels: NDArray[np.int32]  # of the repairs, (H, W)
    unlike_before: tuple[Region, ...]
    unlike_after: tuple[Region, ...]


def find_suspects(frames: Iterable[FrameState], keep: bool = True) -> Iterator[FrameState]:
    """The frames in order, each with its suspects: the repairs that lie on a path, (H, W).

    Every repair is recorded with its reason. A frame without a neighbour on one side has no
    suspects. Unless ``keep``, what lies on a path is recorded as a repair, and no pixel is suspect.
    """
    held: list[tuple[FrameState, _Seen]] = []
    for frame in frames:
        held.append((frame, _seen(frame)))
        if len(held) == 2:
            yield _at_shot_edge(*held[0])  # the first frame has nothing before it
        if len(held) == 3:
            (_, before), (middle, here), (_, after) = held
            found = _on_paths(before.unlike_after, here, after.unlike_before)
            suspects = np.isin(here.labels, found) if found and keep else None
            yield replace(middle, suspects=suspects, repairs=_records(middle, here, found, keep))
            del held[0]
    if held:
        yield _at_shot_edge(*held[-1])


def _at_shot_edge(frame: FrameState, here: _Seen) -> FrameState:
    return replace(frame, repairs=_records(frame, here, (), keep=True, otherwise="shot_edge"))


def _records(
    frame: FrameState,
    here: _Seen,
    on_path: Collection[int],
    keep: bool,
    otherwise: Why = "one_frame",
) -> tuple[Repair, ...]:
    """A record of each repair of a frame. The labels ``on_path`` are suspects if ``keep``."""
    if not here.repairs:
        return ()
    change = np.abs(_mean_of_channels(frame.source, frame.image))
    records = []
    for region in here.repairs:
        x, y, wide, high = region.box
        inside = slice(y, y + high), slice(x, x + wide)
        own = here.labels[inside] == region.label  # empty if a region of the other sign covers it
        mean = float(change[inside][own].mean() if own.any() else change[inside].mean())
        moves = region.label in on_path
        why: Why = "path" if moves else "upright" if region.upright else otherwise
        records.append(
            Repair(
                region.box, region.area, region.bright, mean,
                "suspect" if moves and keep else "repair", why,
            )
        )  # fmt: skip
    return tuple(records)


def restore_suspects(frames: Iterable[FrameState]) -> Iterator[FrameState]:
    """The frames with the source's pixels where a suspect is, with a soft edge."""
    for frame in frames:
        suspects = frame.suspects
        if suspects is None or not suspects.any():
            yield frame
            continue
        grown = cv2.dilate(suspects.astype(np.float32), np.ones((2 * MARGIN + 1,) * 2))
        share = cv2.GaussianBlur(grown, (0, 0), 1.0)[..., None]
        yield replace(frame, image=frame.image + share * (frame.source - frame.image))


def _seen(frame: FrameState) -> _Seen:
    """The repairs of a frame that are large enough, and all that differs more than its grain."""
    assert frame.defects is not None  # the network stage found them
    assert frame.differences is not None
    change, differences = _mean_of_channels(frame.source, frame.image), frame.differences.numpy()
    repaired = frame.defects.numpy() > DEFECT
    labels = np.zeros(change.shape, np.int32)
    repairs: list[Region] = []
    unlike: tuple[list[Region], list[Region]] = [], []
    beyond_grain = LEAST_CHANGE + CHANGE_PER_NOISE * (frame.noise or 0.0)
    for sign in (1, -1):
        removed = repaired & (sign * change > LEAST_CHANGE)
        repairs += _regions(removed, sign, labels, first=len(repairs) + 1)
        for regions, difference in zip(unlike, differences, strict=True):
            regions.extend(_regions(sign * difference > beyond_grain, sign))
    return _Seen(tuple(repairs), labels, *map(tuple, unlike))


def _regions(
    mask: Mask, sign: int, labels: NDArray[np.int32] | None = None, first: int = 1
) -> list[Region]:
    """The connected regions of a mask (H, W) with LEAST_AREA pixels or more.

    Their numbers, from ``first``, are written into ``labels``.
    """
    joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((JOIN, JOIN)))
    count, found, boxes, centres = cv2.connectedComponentsWithStats(joined)
    regions: list[Region] = []
    for number in range(1, count):
        x, y, wide, high, area = boxes[number]
        if area < LEAST_AREA:
            continue
        label = first + len(regions)
        if labels is not None:
            inside = slice(y, y + high), slice(x, x + wide)
            labels[inside][found[inside] == number] = label
        upright = bool(wide <= SCRATCH_WIDTH and high >= SCRATCH_SLENDER * wide)
        centre = float(centres[number][0]), float(centres[number][1])
        box = int(x), int(y), int(wide), int(high)
        regions.append(Region(*centre, int(area), sign > 0, upright, label, box))
    return regions


def _mean_of_channels(source: Image, image: Image) -> NDArray[np.float32]:
    """How much brighter the source is than its repair, code values (H, W)."""
    change: NDArray[np.float32] = cv2.transform(source - image, np.full((1, 3), 255 / 3))
    return change


def _on_paths(before: Sequence[Region], here: _Seen, after: Sequence[Region]) -> list[int]:
    """The labels of the repairs that lie on a path."""
    radius = SEARCH * here.labels.shape[1]
    return [r.label for r in here.repairs if is_on_path(r, before, after, radius)]


def is_on_path(
    region: Region, before: Sequence[Region], after: Sequence[Region], radius: float
) -> bool:
    """Whether regions like this one lie before and after it, on a straight path.

    The distance of a pair p, q from the path through x is |p + q - 2x|. Chance brings
    (regions before) x (regions after) x distance^2 / radius^2 pairs as close, if regions are spread
    evenly over the search radius.
    """
    if region.upright:
        return False
    earlier, later = (_like(region, around, radius) for around in (before, after))
    if not len(earlier) or not len(later):
        return False
    distances = np.linalg.norm(earlier[:, None] + later[None], axis=-1)
    best = float(distances.min())
    return best < NEAR and len(earlier) * len(later) * (best / radius) ** 2 < CHANCE


def _like(region: Region, around: Sequence[Region], radius: float) -> NDArray[np.float64]:
    """Displacements (N, 2) of the regions within ``radius`` that have its sign and about its
    area.
    """
    low, high = ALIKE
    moved = [
        (other.x - region.x, other.y - region.y)
        for other in around
        if other.bright == region.bright and low <= other.area / region.area <= high
    ]
    found = np.array(moved, np.float64).reshape(-1, 2)
    near: NDArray[np.float64] = found[np.linalg.norm(found, axis=1) <= radius]
    return near
