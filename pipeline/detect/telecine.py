"""2:3 pulldown: film at 24 frames a second in video of 30, found and undone.

Four film frames A B C D lie in a cycle of five video frames, in fields A A, B B, B C, C D, D D (the
earlier one first). The repeated fields, one of each parity, show where a cycle begins. Undoing it
only sorts fields: every line of the result is the source's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.fields import field_of, woven

Planes = tuple[NDArray[Any], ...]
Stamped = tuple[int, Planes]  # pts, planes

CYCLE, FILM = 5, 4  # frames of video, and of film, in a cycle
# Places in the cycle whose earlier field, and whose later field, repeats that of the frame before.
EARLIER_REPEATS, LATER_REPEATS = 2, 4
# Film frames that are whole before the first full cycle, by the frame that one begins at.
LEAD = (0, 1, 1, 2, 3)

# One field repeats where the other has changed this many times as much.
RATIO = 1.6
# A frame moves where both fields change this many times as much as repeated ones do.
MOVES = 2.0
# Repeats that a cadence needs to be one; and contradictions that a stretch of frames may hold.
LEAST_REPEATS, STRETCH, TOLERATED = 6, 10, 2
COLUMNS = 360


class Cadence:
    """Takes the 8-bit luma of frames in order; holds one of them, and two numbers for each."""

    def __init__(self) -> None:
        self._last: NDArray[np.int16] | None = None
        self._changes: list[tuple[float, float]] = []  # of the top field, of the bottom field

    def add(self, luma: NDArray[Any]) -> None:
        """Takes the next frame, (H, W) uint8."""
        now = luma[:, :: max(1, luma.shape[1] // COLUMNS)].astype(np.int16)
        if self._last is None:
            self._changes.append((0.0, 0.0))
        else:
            change = np.abs(now - self._last)
            self._changes.append((float(change[0::2].mean()), float(change[1::2].mean())))
        self._last = now

    def phase(self, order: str) -> int | None:
        """The first frame that begins a cycle (0 to 4); None without a cadence that is steady."""
        repeats = self._repeats(order)
        phase = _best(repeats)
        confirmed, contradicted = self._against(repeats, phase, order)
        if confirmed.sum() < LEAST_REPEATS:
            return None
        stretches = np.convolve(contradicted, np.ones(STRETCH, int))
        return None if stretches.max() > TOLERATED else phase

    def seen(self, order: str) -> str:
        """How many repeated fields there are, and where they are not as a cadence has them."""
        repeats = self._repeats(order)
        confirmed, contradicted = self._against(repeats, _best(repeats), order)
        where = np.flatnonzero(contradicted)
        first = f", the first at frame {where[0]}" if len(where) else ""
        return f"{confirmed.sum()} repeats in step and {len(where)} frames out of step{first}"

    def _repeats(self, order: str) -> NDArray[np.int64]:
        """For each frame 1 where its earlier field repeats, -1 where its later one, else 0."""
        earlier, later = self._ordered(order)
        return (earlier * RATIO < later).astype(int) - (later * RATIO < earlier)

    def _ordered(self, order: str) -> NDArray[np.float64]:
        """(2, T) change of the earlier and of the later field of each frame."""
        changes = np.array(self._changes, float).reshape(-1, 2).T
        return changes if order == "tff" else changes[::-1]

    def _against(
        self, repeats: NDArray[np.int64], phase: int, order: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The frames that confirm a cycle that begins at `phase`, and those that contradict it."""
        expected = _expected(len(repeats), phase)
        confirmed = (repeats == expected) & (expected != 0)
        changes = self._ordered(order)
        held = np.where(expected > 0, changes[0], changes[1])[confirmed]
        still = MOVES * float(np.median(held)) + 0.5 if len(held) else 0.0
        moved = changes.min(axis=0) > still
        wrong = ((repeats != 0) & (changes.max(axis=0) > still)) | moved
        return confirmed, np.where(expected == 0, repeats != 0, wrong & ~confirmed)


def _expected(count: int, phase: int) -> NDArray[np.int64]:
    place = (np.arange(count) - phase) % CYCLE
    expected = (place == EARLIER_REPEATS).astype(int) - (place == LATER_REPEATS)
    expected[:1] = 0  # nothing comes before the first frame
    return expected


def _best(repeats: NDArray[np.int64]) -> int:
    """The phase that most repeats speak for."""
    scores = [int((repeats * _expected(len(repeats), phase)).sum()) for phase in range(CYCLE)]
    return int(np.argmax(scores))


def film_frames(frames: Iterable[Stamped], order: str, phase: int) -> Iterator[Stamped]:
    """The film frames of telecined ones, evenly spaced over each cycle, on a clock of `FILM` ticks
    to one of the source's.

    A film frame of which only one field lies in the clip is left out.
    """
    cycle: dict[int, Stamped] = {}
    place, last, step = -phase % CYCLE, None, 0
    for pts, planes in frames:
        if place == CYCLE:
            yield from _film(cycle, pts, order)
            cycle, place = {}, 0
        step = step if last is None else pts - last
        cycle[place], last, place = (pts, planes), pts, place + 1
    if last is not None:
        yield from _film(cycle, last + (CYCLE - place + 1) * step, order)


def _film(cycle: dict[int, Stamped], stop: int, order: str) -> Iterator[Stamped]:
    """Film frames of a cycle that ends at the timestamp `stop`, whole or not."""
    first = min(cycle)
    start = stop - CYCLE * (stop - cycle[first][0]) // (CYCLE - first)
    whole = {0: 0, 1: 1, 3: 4}  # of film, of video
    for number in range(FILM):
        planes = None
        if number == 2 and {2, 3} <= cycle.keys():
            sources = (3, 2) if order == "tff" else (2, 3)  # of the top field, of the bottom field
            top, bottom = (field_of(cycle[at][1], parity) for parity, at in enumerate(sources))
            planes = woven(top, bottom)
        elif number in whole and whole[number] in cycle:
            planes = cycle[whole[number]][1]
        if planes is not None:
            yield FILM * start + number * (stop - start), planes
