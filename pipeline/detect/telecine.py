"""Find 2:3 pulldown: film at 24 frames a second in video at 30 (see `pipeline.clip.pulldown`).

Each cycle of five frames holds two repeated fields, one of each parity. They show where a cycle
begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.pulldown import CYCLE

# Places in the cycle where the earlier field, and the later field, repeats the frame before.
EARLIER_REPEATS, LATER_REPEATS = 2, 4
# A field repeats if the other field of its frame changed RATIO times as much.
RATIO = 1.6
# A frame moves if both its fields change MOVES times as much as repeated fields do.
MOVES = 2.0
# A cadence needs LEAST_REPEATS repeats in step. No STRETCH frames in a row may hold more than
# TOLERATED frames out of step.
LEAST_REPEATS, STRETCH, TOLERATED = 6, 10, 2
COLUMNS = 360  # compared in each line


class Cadence:
    """Compares the 8-bit luma of frames in order. Memory: one frame, and two numbers per frame."""

    def __init__(self) -> None:
        self._last: NDArray[np.int16] | None = None
        self._changes: list[tuple[float, float]] = []  # of the top field, of the bottom field

    def add(self, luma: NDArray[Any]) -> None:
        """Compare the next frame, (H, W) uint8, with the one before."""
        now = luma[:, :: max(1, luma.shape[1] // COLUMNS)].astype(np.int16)
        if self._last is None:
            self._changes.append((0.0, 0.0))
        else:
            change = np.abs(now - self._last)
            self._changes.append((float(change[0::2].mean()), float(change[1::2].mean())))
        self._last = now

    def phase(self, order: str) -> int | None:
        """The first frame that begins a cycle (0 to 4). None if there is no steady cadence."""
        repeats = self._repeats(order)
        phase = _best(repeats)
        confirmed, contradicted = self._against(repeats, phase, order)
        if confirmed.sum() < LEAST_REPEATS:
            return None
        stretches = np.convolve(contradicted, np.ones(STRETCH, int))
        return None if stretches.max() > TOLERATED else phase

    def seen(self, order: str) -> str:
        """The number of repeats in step and of frames out of step, for a message."""
        repeats = self._repeats(order)
        confirmed, contradicted = self._against(repeats, _best(repeats), order)
        where = np.flatnonzero(contradicted)
        first = f", the first at frame {where[0]}" if len(where) else ""
        return f"{confirmed.sum()} repeats in step and {len(where)} frames out of step{first}"

    def _repeats(self, order: str) -> NDArray[np.int64]:
        """(T,) 1 if the earlier field of a frame repeats, -1 if the later one does, else 0."""
        earlier, later = self._ordered(order)
        return (earlier * RATIO < later).astype(int) - (later * RATIO < earlier)

    def _ordered(self, order: str) -> NDArray[np.float64]:
        """(2, T) change of the earlier and of the later field since the frame before."""
        changes = np.array(self._changes, float).reshape(-1, 2).T
        return changes if order == "tff" else changes[::-1]

    def _against(
        self, repeats: NDArray[np.int64], phase: int, order: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(T,) frames that confirm a cycle from `phase` on, and (T,) frames that contradict it."""
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
    """The phase that most repeats confirm."""
    scores = [int((repeats * _expected(len(repeats), phase)).sum()) for phase in range(CYCLE)]
    return int(np.argmax(scores))
