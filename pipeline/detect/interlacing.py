"""Scan type: what a clip declares, what its lines show, and how it is restored for that.

The measure is that of FFmpeg's `idet`: the lines of one parity are compared with those of the other
in the frame before and the frame after. In interlaced material one of them is a single field away,
the other three.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Probe
from schemas.errors import ClipFault
from schemas.reasons import Reason

# What lines can show, in the order of the columns of TREATMENTS.
MEASURED = ("progressive", "tff", "bff", "unknown")
# How a clip is restored, by the scan it declares and the scan that is measured.
TREATMENTS = {
    #               progressive  tff       bff       unknown
    "progressive": ("frames",   "hold",   "hold",   "frames"),
    "tff":         ("fields",   "fields", "hold",   "fields"),
    "bff":         ("fields",   "hold",   "fields", "fields"),
    "unknown":     ("frames",   "fields", "fields", "frames"),
}  # fmt: skip
# libav's field orders: the first letter is the field that is earlier in a frame of both.
SCAN_OF = {
    "unknown": "unknown", "progressive": "progressive",
    "tt": "tff", "tb": "tff", "bb": "bff", "bt": "bff",
}  # fmt: skip
ORDER_OF = {"progressive": "progressive", "tff": "tt", "bff": "bb"}
WORDS = {
    "progressive": "progressive",
    "tff": "interlaced, top field first",
    "bff": "interlaced, bottom field first",
}

# Thresholds of a frame's verdict, as idet's.
INTERLACED, PROGRESSIVE = 1.04, 1.5
# Frames with a verdict that a clip needs, of one field order to be interlaced, and the share of
# them; and how much more often one order must be found than the other: noise finds both alike.
LEAST_FRAMES, SHARE, CLEAR = 4, 0.2, 4
# Columns that are looked at.
COLUMNS = 360

Lines = NDArray[np.int16]


class Scan(NamedTuple):
    """How many frames show which scan; frames without motion show none."""

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


class ScanMeter:
    """Takes the 8-bit luma of frames in order; holds three of them."""

    def __init__(self) -> None:
        self._recent: deque[Lines] = deque(maxlen=3)
        self._counts = dict.fromkeys(Scan._fields, 0)

    def add(self, luma: NDArray[Any]) -> None:
        """Takes the next frame, (H, W) uint8."""
        step = max(1, luma.shape[1] // COLUMNS)
        self._recent.append(luma[:, ::step].astype(np.int16))
        if len(self._recent) == 3 and luma.shape[0] >= 8:
            verdict = frame_scan(*self._recent)
            if verdict is not None:
                self._counts[verdict] += 1

    def finish(self) -> Scan:
        """What the frames so far show."""
        return Scan(**self._counts)


def frame_scan(before: Lines, frame: Lines, after: Lines) -> str | None:
    """The scan that the middle one of three frames shows; None without motion."""
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


def settle(probe: Probe, scan: Scan, said: str | None) -> tuple[Probe, bool]:
    """The probe with the field order that holds, and whether the clip is restored by fields.

    Of a file that declares none, the order that its lines show holds where they are interlaced.
    `said` is the manifest's word, which is believed. Raises `ClipFault(SCAN_DISAGREES)` where the
    file and its lines disagree and nobody has said which is right.
    """
    declared, verdict = SCAN_OF[probe.field_order], scan.verdict
    if said is not None:
        order = probe.field_order if said == declared else ORDER_OF[said]
        return replace(probe, field_order=order), said != "progressive"
    treatment = TREATMENTS[declared][MEASURED.index(verdict)]
    if treatment == "hold":
        counts = ", ".join(f"{count} {name}" for name, count in scan._asdict().items())
        raise ClipFault(
            Reason.SCAN_DISAGREES,
            f"declared {WORDS[declared]}, but its lines are {WORDS[verdict]} (frames: {counts})",
        )
    if declared == "unknown" and treatment == "fields":  # FFV1 would state progressive
        return replace(probe, field_order=ORDER_OF[verdict]), True
    return probe, treatment == "fields"


def scan_order(probe: Probe, by_fields: bool, measured: str) -> str:
    """progressive, tff or bff: what a clip is taken for, from what it declares or else measured."""
    declared = SCAN_OF[probe.field_order]
    if declared in ("tff", "bff"):
        return declared
    return measured if by_fields and measured in ("tff", "bff") else "progressive"
