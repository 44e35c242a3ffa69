"""Pictures of the report: the right frames, their difference, thumbnails, small JPEGs."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jobs.report.stills import (
    JPEG_BYTES,
    MAP_COLOURS,
    MAP_GROUND,
    Still,
    begin_middle_end,
    jpeg,
    stills,
)
from pipeline.detect.change_map import ADJUSTED, FILLED, REPAIRED
from schemas.recipe import Limits
from tests.support.reports import grey_clip


def test_stills_are_the_frames_asked_for(tmp_path: Path) -> None:
    source, restored = grey_clip(tmp_path / "a.mkv"), grey_clip(tmp_path / "b.mkv", add=5)
    found = stills(source, restored, [2, 10, 17], Limits())
    assert found.source.sar == 1
    assert [still.index for still in found.frames] == [2, 10, 17]
    for still in found.frames:
        assert np.unique(still.source).tolist() == [10 * (still.index + 1)]
        assert np.unique(still.restored).tolist() == [10 * (still.index + 1) + 5]


def test_the_difference_is_grey_where_nothing_changed() -> None:
    source = np.full((4, 4, 3), 100, np.uint8)
    restored = source.copy()
    restored[0, 0], restored[0, 1], restored[0, 2] = 110, 90, 255
    difference = Still(0, source, restored).difference
    assert difference[0, :3, 0].tolist() == [128 + 40, 128 - 40, 255]
    assert np.unique(difference[1:]).tolist() == [128]


def test_the_change_map_shows_reason_and_amount() -> None:
    source = np.full((4, 6, 3), 100, np.uint8)
    small, large = ADJUSTED << 6 | 1, REPAIRED << 6 | 8
    changes = np.array([[0, small, large], [0, 0, FILLED << 6 | 1]], np.uint8)
    shown = Still(0, source, source, changes).change_map
    assert shown is not None and shown.shape == source.shape
    assert (shown[:2, :2] == round(MAP_GROUND * 100)).all()
    assert tuple(shown[1, 5]) == MAP_COLOURS[REPAIRED]
    red, _, blue = (int(value) for value in shown[0, 2])
    assert 40 < blue < MAP_COLOURS[ADJUSTED][2] // 2 and blue > red
    assert Still(0, source, source).change_map is None


def test_the_thumbnail_is_half_and_half_in_display_shape() -> None:
    half = Still(0, np.zeros((100, 200, 3), np.uint8), np.full((100, 200, 3), 255, np.uint8))
    thumbnail = half.thumbnail(Fraction(2))
    assert thumbnail.shape == (48, 192, 3)
    assert (thumbnail[:, :95].max(), thumbnail[:, 97:].min()) == (0, 255)


@pytest.mark.parametrize(
    ("frames", "indices"), [(0, []), (1, [0]), (2, [0, 1]), (100, [10, 50, 89])]
)
def test_begin_middle_end(frames: int, indices: list[int]) -> None:
    assert begin_middle_end(frames) == indices


def test_a_jpeg_fits_whatever_the_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    assert len(jpeg(noise)) <= JPEG_BYTES
    flat = np.zeros((720, 1280, 3), np.uint8)
    assert len(jpeg(flat)) <= JPEG_BYTES
