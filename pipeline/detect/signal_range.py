"""Signal range: what a clip declares against what its levels show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Probe
from schemas.errors import ClipFault
from schemas.reasons import Reason

RANGES = {0: "unknown", 1: "limited", 2: "full"}
# What is done with a clip, by the range it declares and the range that is measured. Without a
# declaration nothing is contradicted: the planes keep their values, whatever they mean.
VERDICTS = {
    #           full      limited   unknown
    "full":    ("publish", "hold",    "publish"),
    "limited": ("hold",    "publish", "publish"),
    "unknown": ("publish", "publish", "publish"),
}  # fmt: skip
MEASURED = ("full", "limited", "unknown")

# Full range is shown by levels that limited range has no use for, at both ends; limited range by
# none of them, with black and white just at its limits. One end proves nothing: cameras go above
# white, and borders lie below black.
FLOOR, CEILING = 3, 252
BLACK, WHITE = 16, 235
# Shares of all samples that must lie at an end.
DARK_SHARE, BRIGHT_SHARE = 0.005, 0.001
# Of the lines and columns, every so many are looked at.
STEP = 3


class LevelMeter:
    """Counts the 8-bit luma of frames."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, luma: NDArray[Any]) -> None:
        """Takes a frame, (H, W) uint8."""
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
    """Raises `ClipFault(RANGE_DISAGREES)` where a YUV clip's levels contradict its declaration."""
    declared = RANGES[probe.color_range]
    if not probe.pix_fmt.startswith("yuv"):
        return
    if VERDICTS[declared][MEASURED.index(measured)] == "hold":
        raise ClipFault(
            Reason.RANGE_DISAGREES, f"declared {declared} range, but its levels are {measured}"
        )
