"""Measure the scan type of a clip, and decide between what it declares and what its lines show.

The method is that of FFmpeg's `idet` filter. The lines of one parity are compared with the lines of
the other parity in the frame before and in the frame after. In interlaced material one of the two
is one field away, and the other is three fields away.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Probe
from pipeline.clip.scan import MEASURED, ORDER_OF, SCAN_OF, WORDS
from schemas.errors import ClipFault
from schemas.reasons import Reason

# How a clip is restored, by declared scan type (row) and measured scan type (column, as MEASURED).
TREATMENTS = {
    #               progressive  tff       bff       unknown
    "progressive": ("frames",   "hold",   "hold",   "frames"),
    "tff":         ("fields",   "fields", "hold",   "fields"),
    "bff":         ("fields",   "hold",   "fields", "fields"),
    "unknown":     ("frames",   "fields", "fields", "frames"),
}  # fmt: skip

# Thresholds for the verdict on one frame, the same as in idet.
INTERLACED, PROGRESSIVE = 1.04, 1.5
# A clip needs LEAST_FRAMES frames with a verdict. It is interlaced if at least LEAST_FRAMES frames,
# and at least SHARE of all, show one field order, and CLEAR times as many as show the other order:
# noise shows both equally often.
LEAST_FRAMES, SHARE, CLEAR = 4, 0.2, 4
LEAST_LINES = 64  # with fewer, a clip contradicts no declaration: its detail may look like fields
COLUMNS = 360  # compared in each line

Lines = NDArray[np.int16]


class ScanCounts(NamedTuple):
    """The number of frames that show each scan type. A frame without motion shows none."""

    progressive: int = 0
    tff: int = 0
    bff: int = 0

    @property
    def verdict(self) -> str:
        """One of MEASURED."""
        if sum(self) < LEAST_FRAMES:
            return "unknown"
        order, many, few = ("tff", self.tff, self.bff)
        if self.bff > self.tff:
            order, many, few = ("bff", self.bff, self.tff)
        if many >= max(LEAST_FRAMES, SHARE * sum(self)) and many >= CLEAR * few:
            return order
        return "progressive" if self.progressive >= sum(self) / 2 else "unknown"


class InterlacingMeter:
    """Compares the 8-bit luma of frames in order. Memory: three frames."""

    def __init__(self) -> None:
        self._recent: deque[Lines] = deque(maxlen=3)
        self._counts = dict.fromkeys(ScanCounts._fields, 0)

    def add(self, luma: NDArray[Any]) -> None:
        """Measure the next frame, (H, W) uint8."""
        step = max(1, luma.shape[1] // COLUMNS)
        self._recent.append(luma[:, ::step].astype(np.int16))
        if len(self._recent) == 3 and luma.shape[0] >= 8:
            verdict = frame_scan(*self._recent)
            if verdict is not None:
                self._counts[verdict] += 1

    def finish(self) -> ScanCounts:
        """The counts over all frames so far."""
        return ScanCounts(**self._counts)


def frame_scan(before: Lines, frame: Lines, after: Lines) -> str | None:
    """The scan type that the middle one of three frames shows. None if nothing moves."""
    around = frame[1:-3] + frame[3:-1]
    earlier, later, own = (
        np.abs(around - 2 * other[2:-2]).sum(axis=1, dtype=np.int64)
        for other in (before, after, frame)
    )
    top_late = int(earlier[0::2].sum() + later[1::2].sum())
    bottom_late = int(earlier[1::2].sum() + later[0::2].sum())
    if top_late > INTERLACED * bottom_late:
        return "tff"
    if bottom_late > INTERLACED * top_late:
        return "bff"
    return "progressive" if bottom_late > PROGRESSIVE * int(own.sum()) else None


def settle(probe: Probe, measured: ScanCounts, stated: str | None) -> tuple[Probe, bool]:
    """The probe with the settled field order, and whether the clip is restored field by field.

    `stated` is the scan type in the manifest, which always counts. If the file declares nothing and
    its lines are interlaced, the measured order counts. Raises `ClipFault(SCAN_DISAGREES)` if the
    file and its lines disagree and the manifest states nothing.
    """
    declared, verdict = SCAN_OF[probe.field_order], measured.verdict
    if probe.height < LEAST_LINES and declared != "unknown":
        verdict = "unknown"
    if stated is not None:
        order = probe.field_order if stated == declared else ORDER_OF[stated]
        return replace(probe, field_order=order), stated != "progressive"
    treatment = TREATMENTS[declared][MEASURED.index(verdict)]
    if treatment == "hold":
        counts = ", ".join(f"{count} {name}" for name, count in measured._asdict().items())
        raise ClipFault(
            Reason.SCAN_DISAGREES,
            f"declared {WORDS[declared]}, but its lines are {WORDS[verdict]} (frames: {counts})",
        )
    if declared == "unknown" and treatment == "fields":  # FFV1 would state progressive
        return replace(probe, field_order=ORDER_OF[verdict]), True
    return probe, treatment == "fields"
