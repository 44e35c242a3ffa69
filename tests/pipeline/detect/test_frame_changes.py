"""A known distortion of a frame moves its measure, and the other measures stay still."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.detect.frame_changes import ChangeMeter
from schemas.judgement import CHANGES
from tests.support.media.scenes import sharp_scene

FRAMES, AT = 5, 2
Frame = np.ndarray

# How far a measure may move when nothing is wrong with it, and its value without a change.
STILL = {
    "pixels_changed": 0.005, "largest_change": 0.003, "chroma_shift": 0.5, "texture_added": 2.0,
    "edges_kept": 0.1, "detail_kept": 0.35, "out_of_step": 0.1,
}  # fmt: skip
REST = {"edges_kept": 1.0, "detail_kept": 1.0}


def same(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    return luma, chroma


def exposed(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    return luma * 1.08, chroma


def box_painted(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    luma = luma.copy()
    luma[40:64, 60:90] += 40 * np.where(luma[40:64, 60:90] < 128, 1, -1)
    return luma, chroma


def tinted(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    return luma, chroma + 6


def noisy(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    return luma + 5 * np.random.default_rng(1).standard_normal(luma.shape), chroma


def soft(luma: Frame, chroma: Frame) -> tuple[Frame, Frame]:
    return cv2.GaussianBlur(luma, (0, 0), 1.5), chroma


def measured(distort: Callable[[Frame, Frame], tuple[Frame, Frame]]) -> dict[str, float]:
    """The measures of the distorted frame of a panning scene without grain."""
    meter, chroma = ChangeMeter(), np.full((60, 80), 128, np.float32)
    for index, luma in enumerate(sharp_scene(1, FRAMES)):
        source = luma.astype(np.float32)
        after, colour = distort(source, chroma) if index == AT else (source, chroma)
        meter.add(source, after.astype(np.float32), [(chroma, colour.astype(np.float32))], 8)
    row = meter.rows()[AT]
    assert set(row) <= set(CHANGES)
    return row


@pytest.mark.parametrize(
    ("distort", "moved"),
    [
        (same, set()),
        (exposed, set()),
        (box_painted, {"pixels_changed", "largest_change", "texture_added"}),  # it has new edges
        (tinted, {"chroma_shift"}),
        (noisy, {"texture_added"}),
        (soft, {"edges_kept", "detail_kept", "pixels_changed", "largest_change"}),
    ],
)
def test_a_distortion_moves_its_measure_and_no_other(
    distort: Callable[[Frame, Frame], tuple[Frame, Frame]], moved: set[str]
) -> None:
    row = measured(distort)
    away = {n: abs(row[n] - REST.get(n, 0)) for n in STILL if n in row and not np.isnan(row[n])}
    found = {name for name, distance in away.items() if distance > STILL[name]}
    assert found == moved, away


def steps(sources: list[Frame], restored: list[Frame]) -> list[float]:
    """`out_of_step` of every frame."""
    meter, chroma = ChangeMeter(), np.full((60, 80), 128, np.float32)
    for source, after in zip(sources, restored, strict=True):
        meter.add(np.float32(source), np.float32(after), [(chroma, chroma)], 8)
    return [row["out_of_step"] for row in meter.rows()]


def test_another_frame_of_a_moving_scene_is_out_of_step() -> None:
    sources = list(sharp_scene(1, FRAMES))
    restored = list(sources)
    restored[AT] = sources[AT + 1]
    found = steps(sources, restored)
    assert found[AT] > 0.5
    assert max(found[:AT]) < 0.1


def test_a_still_scene_without_its_dirt_is_not_out_of_step() -> None:
    rng, scene = np.random.default_rng(0), sharp_scene(1, 1)[0].astype(np.float32)
    sources = []
    for index in range(FRAMES):
        dirty = scene + 8 * (index % 3 - 1)  # it flickers
        for y, x in rng.integers(0, np.array(scene.shape) - 6, (30, 2)):
            dirty[y : y + 5, x : x + 4] = 250
        sources.append(dirty)
    found = np.array(steps(sources, [scene] * FRAMES))
    assert not (found > 0.3).any()


@pytest.mark.parametrize("shape", [(120, 160), (97, 131), (83, 330)])
def test_tiles_are_means_of_equal_areas(shape: tuple[int, int]) -> None:
    """Those of a reference that enlarges each pixel, so that every tile has whole ones."""
    rng = np.random.default_rng(0)
    source, chroma = rng.uniform(0, 255, shape).astype(np.float32), np.zeros(shape, np.float32)
    change = rng.uniform(0, 30, shape).astype(np.float32)
    meter = ChangeMeter()
    meter.add(source, source.copy(), [(chroma, change)], 8)
    means = change.repeat(8, axis=0).repeat(8, axis=1)
    means = means.reshape(8, shape[0], 8, shape[1]).mean(axis=(1, 3))
    assert meter.rows()[0]["chroma_shift"] == pytest.approx(float(means.max()), rel=1e-5)
    row, column = divmod(int(means.argmax()), 8)
    assert meter.box(0, "chroma_shift") == (
        x := round(column * shape[1] / 8), y := round(row * shape[0] / 8),
        round((column + 1) * shape[1] / 8) - x, round((row + 1) * shape[0] / 8) - y,
    )  # fmt: skip


def test_the_largest_region_is_that_of_the_whole_frame() -> None:
    """Only the part with strong changes is searched: the result is that of a search everywhere."""
    rng, source = np.random.default_rng(3), np.full((97, 131), 90, np.float32)
    source += rng.integers(0, 60, source.shape)
    for count in (1, 2, 5, 12):
        after = source.copy()
        for y, x in rng.integers(0, np.array(source.shape), (count, 2)):
            after[y : y + 6, x : x + 5] += 70  # also at the frame's edges
        strong = np.abs(cv2.blur(after - source, (3, 3))) > 16
        closed = cv2.morphologyEx(strong.view(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        parts = cv2.connectedComponentsWithStats(closed, connectivity=8)[2][1:]
        meter = ChangeMeter()
        meter.add(source, after)
        row, largest = meter.rows()[0], parts[parts[:, cv2.CC_STAT_AREA].argmax()]
        assert row["pixels_changed"] == pytest.approx(strong.mean())
        assert row["largest_change"] == pytest.approx(largest[4] / strong.size)
        assert meter.box(0, "largest_change") == tuple(int(side) for side in largest[:4])
