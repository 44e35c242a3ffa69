"""All meters together: what they share, and what a frame saves that was not changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.colour import PixelFormat
from pipeline.clip.frames import Planes
from pipeline.detect.frame_changes import ChangeMeter, chroma_of
from pipeline.detect.measure import ClipMeasure, planes_to_luma
from pipeline.measures.clip import Meters
from pipeline.measures.meter import FrameMeter
from tests.support.media.scenes import sharp_scene

FORMATS = {"yuv420p": 8, "yuv420p10le": 10, "gray": 8, "gbrp": 8}
Rows = list[dict[str, float]]


def clip(pix_fmt: str) -> tuple[list[Planes], list[Planes]]:
    """A panning scene wider than a small frame, and its restoration: two frames were changed."""
    rng, before = np.random.default_rng(2), list[Planes]()
    for drawn in sharp_scene(1, 10):
        wide = cv2.resize(drawn, (372, 274), interpolation=cv2.INTER_CUBIC)
        luma = np.clip(wide + rng.normal(0, 2, wide.shape), 0, 255).astype(np.uint8)
        colour = cv2.resize(luma, (186, 137)) // 2 + 60
        planes = {"gray": (luma,), "gbrp": (luma, luma // 2, 255 - luma)}.get(
            pix_fmt, (luma, colour, 255 - colour)
        )
        if FORMATS[pix_fmt] == 10:
            planes = tuple(np.left_shift(plane, 2, dtype=np.uint16) + 1 for plane in planes)
        before.append(planes)
    after = [tuple(plane.copy() for plane in planes) for planes in before]
    for at in (3, 9):
        for plane in after[at]:
            plane[40:90, 50:120] = plane[60, 60]
    return before, after


def apart(before: list[Planes], after: list[Planes], pix_fmt: str) -> Rows:
    """Every meter by itself, each with arrays of its own: nothing is shared and nothing is left."""
    depth = FORMATS[pix_fmt]
    pixels = PixelFormat.of(pix_fmt, depth, 6, 1, 274)
    measure, changes, signals = ClipMeasure([5]), ChangeMeter([5]), FrameMeter(pixels, [5], [3])
    for pair in zip(before, after, strict=True):
        lumas = tuple(planes_to_luma(planes, pix_fmt, depth) for planes in pair)
        measure.add(*lumas)
        colours = zip(*(chroma_of(planes, pix_fmt) for planes in pair), strict=True)
        changes.add(*lumas, list(colours), depth)
        signals.add(pair, lumas)
    rows = zip(measure.frames(), changes.rows(), signals.rows(), strict=True)
    return [{**one, **two, **three} for one, two, three in rows]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_frame_that_was_not_changed_measures_as_its_copy_does(pix_fmt: str) -> None:
    before, after = clip(pix_fmt)
    pixels = PixelFormat.of(pix_fmt, FORMATS[pix_fmt], 6, 1, 274)
    meters = Meters(pix_fmt, pixels, [5], [3])
    for one, other in zip(before, after, strict=True):
        meters.add(one, other)
    rows, expected = meters.frames(), apart(before, after, pix_fmt)
    for frame, (row, alone) in enumerate(zip(rows, expected, strict=True)):
        assert row == pytest.approx(alone, rel=1e-5, abs=1e-5, nan_ok=True), frame
    assert rows[3]["largest_change"] > 0 and rows[2]["largest_change"] == 0


def test_a_frame_that_was_not_changed_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = clip("yuv420p")
    seen = []
    signal = FrameMeter._signal
    monkeypatch.setattr(
        FrameMeter, "_signal", lambda self, *given: (seen.append(1), signal(self, *given))[1]
    )
    meters = Meters("yuv420p", PixelFormat.of("yuv420p", 8, 6, 1, 274))
    for one, other in zip(before, after, strict=True):
        meters.add(one, other)
    assert len(seen) == 10 + 2  # two frames were changed
