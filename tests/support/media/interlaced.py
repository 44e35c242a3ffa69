"""Generated progressive and interlaced clips, and their measured scan type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.detect.interlacing import InterlacingMeter, ScanCounts
from pipeline.media.segments import SegmentWriter
from tests.support.media.media_factory import draw_fields, draw_planes

Planes = Sequence[np.ndarray]
WIDTH, HEIGHT, FRAMES = 96, 64, 8


def drawn(scan: str, pix_fmt: str = "yuv420p", frames: int = FRAMES) -> list[list[np.ndarray]]:
    if scan == "progressive":
        return [draw_planes(i, pix_fmt, WIDTH, HEIGHT) for i in range(frames)]
    return [draw_fields(i, pix_fmt, WIDTH, HEIGHT, scan) for i in range(frames)]


def measured(lumas: Sequence[np.ndarray]) -> ScanCounts:
    meter = InterlacingMeter()
    for luma in lumas:
        meter.add(luma)
    return meter.finish()


def write_planes(path: Path, probe: Any, frames: Sequence[Planes]) -> Path:
    with SegmentWriter(path, probe, 4) as writer:
        for planes in frames:
            writer.write(planes)
    return path
