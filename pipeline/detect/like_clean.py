"""Whether the repairs of a shot are like those of clean film, so that it is better left alone.

Water, leaves and limbs stand out of their neighbouring frames by the thousand, and a few of them
look like dust. Dust falls everywhere: also where nothing else stands out.
`docs/experiments/2026-12-01-dust-falls-everywhere.md` has the numbers behind the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

LEAST_CLEAR = 2  # clear defects of a shot; with fewer, all of its repairs are doubtful,
SURE = 30.0  # unless the one differs from its repair by so much: code values
CERTAIN = 0.4  # clear defects to each suspect, from which a shot has damage,
BUT = 12  # without this many: one thing in motion is that many
APART = 1  # other regions that are unlike dust around a region apart, at most
APART_SHARE = 0.06  # of the clear defects that are apart, at least, in a shot with damage
PER_APART = 0.45  # clear defects apart to each suspect apart
CLEAR = ("clear", "upright")  # reasons of a repair that is no doubtful one
DOUBTED = "apart"  # a repair that is a suspect, but for what is around it
BESIDE = 2  # pixels between two regions that are at one place


class Decided(NamedTuple):
    """A region of a shot and what was decided about it."""

    decision: str  # this and `why` are codes of schemas/repairs.py
    why: str
    change: float  # code values
    frame: int
    box: tuple[int, int, int, int]  # x, y, width, height in pixels
    crowd: int | None = None  # regions around it that are unlike dust; None: not counted

    @property
    def is_apart(self) -> bool:
        return (self.crowd or 0) <= APART


def is_like_clean(regions: Iterable[Decided]) -> bool:
    """Whether the regions of a shot are like those of clean film. Without a repair, they are.

    What is repaired at one place in several frames counts once. Dust does not fall twice at one
    place: traffic, seen through a gap, comes and goes there.
    """
    clear, suspects = list[Decided](), list[Decided]()
    for one in regions:
        if one.decision == "suspect" or one.why == DOUBTED:
            suspects.append(one)
        elif one.why in CLEAR:
            clear.append(one)
    most = max((one.change for one in clear), default=0.0)
    least = 1 if most >= SURE else LEAST_CLEAR
    places = _places(clear)
    if places < least:
        return True
    if places >= CERTAIN * (len(suspects) - BUT):
        return False
    apart = [one for one in clear if one.is_apart]
    if len(apart) < APART_SHARE * len(clear):
        return True
    return _places(apart) < max(least, PER_APART * sum(one.is_apart for one in suspects))


def _places(regions: Sequence[Decided]) -> int:
    """How many places regions are at. Those of one frame are at as many."""
    frames = np.array([one.frame for one in regions], np.int64)
    boxes = np.array([one.box for one in regions], np.int64).reshape(-1, 4)
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + BESIDE
    new = np.zeros(len(regions), bool)
    for at in range(len(regions)):
        meets = ((first[at] < last[:at]) & (first[:at] < last[at])).all(1)
        new[at] = not (meets & new[:at] & (frames[:at] != frames[at])).any()
    return int(new.sum())
