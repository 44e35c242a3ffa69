"""Scan type: progressive, or interlaced with one of two field orders."""

from __future__ import annotations

from pipeline.clip.frames import Probe

# What the lines of a clip can show.
MEASURED = ("progressive", "tff", "bff", "unknown")
# Scan type by libav's field order. Its first letter is the field that is earlier in time.
SCAN_OF = {
    "unknown": "unknown",
    "progressive": "progressive",
    "tt": "tff",
    "tb": "tff",
    "bb": "bff",
    "bt": "bff",
}
# libav's field order by scan type.
ORDER_OF = {"progressive": "progressive", "tff": "tt", "bff": "bb"}
WORDS = {
    "progressive": "progressive",
    "tff": "interlaced, top field first",
    "bff": "interlaced, bottom field first",
}


def scan_order(probe: Probe, by_fields: bool, measured: str) -> str:
    """The scan type a clip is processed with: progressive, tff or bff.

    A declared field order counts. Without one, the measured order counts if the clip is restored
    field by field.
    """
    declared = SCAN_OF[probe.field_order]
    if declared in ("tff", "bff"):
        return declared
    return measured if by_fields and measured in ("tff", "bff") else "progressive"
