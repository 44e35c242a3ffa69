"""Compare the signal range that a clip declares with the range that its levels show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Probe
from schemas.errors import ClipFault
from schemas.reasons import Reason

RANGES = {0: "unknown", 1: "limited", 2: "full"}
# Publish or hold a clip, by declared range (row) and measured range (column, as MEASURED). Without
# a declaration there is no contradiction: the planes keep their values.
VERDICTS = {
    #           full      limited   unknown
    "full":    ("publish", "hold",    "publish"),
    "limited": ("hold",    "publish", "publish"),
    "unknown": ("publish", "publish", "publish"),
}  # fmt: skip
MEASURED = ("full", "limited", "unknown")

# Full range: levels beyond limited range at both ends. Limited range: no levels beyond it, with
# black and white exactly at its limits. One end proves nothing: cameras exceed white, and borders
# lie below black.
FLOOR, CEILING = 3, 252
BLACK, WHITE = 16, 235
# Shares of all samples that must lie at each end.
DARK_SHARE, BRIGHT_SHARE = 0.005, 0.001
STEP = 3  # every third line and column is counted


class LevelMeter:
    """Counts the 8-bit luma values of a clip."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, luma: NDArray[Any]) -> None:
        """Count the next frame, (H, W) uint8."""
        self._counts += np.bincount(luma[::STEP, ::STEP].ravel(), minlength=256)

    @property
    def verdict(self) -> str:
        """One of MEASURED."""
        counts = self._counts / max(1, self._counts.sum())
        if counts[: FLOOR + 1].sum() > DARK_SHARE and counts[CEILING:].sum() > BRIGHT_SHARE:
            return "full"
        outside = counts[:BLACK].sum() + counts[WHITE + 1 :].sum()
        ends = counts[BLACK : BLACK + 2].sum(), counts[WHITE - 1 : WHITE + 1].sum()
        if outside == 0 and ends[0] > DARK_SHARE and ends[1] > BRIGHT_SHARE:
            return "limited"
        return "unknown"


def check_range(probe: Probe, measured: str) -> None:
    """Raises `ClipFault(RANGE_DISAGREES)` if a YUV clip's levels contradict its declaration."""
    declared = RANGES[probe.color_range]
    if not probe.pix_fmt.startswith("yuv"):
        return
    if VERDICTS[declared][MEASURED.index(measured)] == "hold":
        raise ClipFault(
            Reason.RANGE_DISAGREES, f"declared {declared} range, but its levels are {measured}"
        )
