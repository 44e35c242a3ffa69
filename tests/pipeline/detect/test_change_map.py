"""The change map: an amount and a reason for every pixel, and planted damage is found by it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.colour import PixelFormat
from models.damage.simulator import degrade, outline, quantise
from models.restorer import Restorer
from pipeline.detect.change_map import (
    ADJUSTED,
    FILLED,
    REPAIRED,
    ChangeSums,
    amounts,
    change_map,
    halved,
    of_fields,
    reasons,
)
from pipeline.media.planes import plane_layout
from pipeline.media.rgb import read_rgb

HEIGHT, WIDTH = 21, 33


def planes(pix_fmt: str, value: int = 100) -> tuple[NDArray[np.generic], ...]:
    layout = plane_layout(pix_fmt, WIDTH, HEIGHT)
    return tuple(np.full(shape, value, layout.dtype) for shape in layout.shapes)


def changed(pix_fmt: str, plane: int, at: tuple[int, int], value: int) -> object:
    found = planes(pix_fmt)
    found[plane][at] = value
    return found


@pytest.mark.parametrize(
    ("pix_fmt", "plane", "at", "value", "box", "amount"),
    [
        ("yuv420p", 0, (5, 7), 101, (5, 7, 1, 1), 1),
        ("yuv420p", 0, (20, 32), 90, (20, 32, 1, 1), 8),
        ("yuv420p", 1, (2, 3), 255, (4, 6, 2, 2), 128),
        ("yuv411p", 2, (2, 8), 97, (2, 32, 1, 1), 2),
        ("yuv422p10le", 0, (0, 0), 101, (0, 0, 1, 1), 1),
        ("yuv422p10le", 1, (4, 4), 108, (4, 8, 1, 2), 2),
        ("gbrp", 2, (3, 3), 95, (3, 3, 1, 1), 4),
        ("gray", 0, (3, 3), 104, (3, 3, 1, 1), 4),
    ],
)
def test_every_changed_sample_is_in_the_map(
    pix_fmt: str,
    plane: int,
    at: tuple[int, int],
    value: int,
    box: tuple[int, int, int, int],
    amount: int,
) -> None:
    depth = plane_layout(pix_fmt, 2, 2).bits
    found = change_map(planes(pix_fmt), changed(pix_fmt, plane, at, value), depth)
    y, x, high, wide = box
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[y : y + high, x : x + wide] = True
    assert np.array_equal(amounts(found), np.where(expected, amount, 0))
    assert set(reasons(found)[expected]) == {ADJUSTED}
    assert not change_map(planes(pix_fmt), planes(pix_fmt), depth).any()


def test_reasons_are_told_apart() -> None:
    defects = np.zeros((HEIGHT, WIDTH), np.float32)
    defects[:, 10:] = 1.0
    after = (planes("gray")[0] + np.uint8(3),)
    found = reasons(change_map(planes("gray"), after, 8, defects))
    assert (found[:, :10] == ADJUSTED).all() and (found[:, 10:] == REPAIRED).all()
    assert not change_map(planes("gray"), planes("gray"), 8, defects).any()
    filled = change_map(planes("gray"), planes("gray"), 8, filled=True)
    assert (reasons(filled) == FILLED).all() and (amounts(filled) == 1).all()


def test_a_defect_counts_before_grain_when_pixels_are_joined() -> None:
    found = np.zeros((5, 5), np.uint8)
    found[0, 0], found[1, 1] = ADJUSTED << 6 | 5, REPAIRED << 6 | 2
    found[4, 4] = ADJUSTED << 6 | 1
    half = halved(found)
    assert half.shape == (3, 3)
    assert (half[0, 0], half[2, 2]) == (REPAIRED << 6 | 2, ADJUSTED << 6 | 1)
    assert np.count_nonzero(half) == 2
    top, bottom = (halved(found[parity::2], rows=False) for parity in (0, 1))
    assert np.array_equal(of_fields(top, bottom), half)
    sums = ChangeSums()
    sums.add(half)
    assert (sums.share_changed, sums.share_repaired) == (round(2 / 9, 6), round(1 / 9, 6))


def ranked(score: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """The area under the ROC curve: how often a masked pixel scores higher than another."""
    inside = np.bincount(score[mask], minlength=256) / mask.sum()
    outside = np.bincount(score[~mask], minlength=256) / (~mask).sum()
    return float((inside * (np.cumsum(outside) - outside / 2)).sum())


def test_planted_damage_is_found_by_the_amount(footage: Path) -> None:
    frames = islice(read_rgb(footage / "valid" / "derf_foreman_cif.mp4"), 5)
    clean = np.stack([frame[60:204, 80:272] for frame in frames])
    film = clean.astype(np.float32)
    masks = np.zeros(film.shape[:3], bool)
    for name in ("scratches", "dust", "blotches"):
        before = film.copy()
        film = degrade(film, name, 1, {})
        masks |= outline(name, before, film)
    shown = PixelFormat.of("gbrp", 8, 0, 2, 144)
    source = [tuple(np.ascontiguousarray(f[..., c]) for c in (1, 2, 0)) for f in quantise(film)]
    images = [shown.to_rgb(picture) for picture in source]
    maps, truth = [], []
    # suspects keep the source: the map would show them unchanged, as they are
    stream = Restorer("base").stream(images, deflicker=False, suspects="repair")
    for restored in stream:
        before, rgb = source[restored.index], images[restored.index]
        after = shown.apply(before, rgb, restored.image)
        maps.append(halved(change_map(before, after, 8, restored.defects)))
        truth.append(halved(masks[restored.index].astype(np.uint8)) > 0)
    found, mask = np.stack(maps), np.stack(truth)
    assert 0.002 < mask.mean() < 0.2
    assert ranked(amounts(found), mask) >= 0.95
    repaired = reasons(found) == REPAIRED
    assert repaired[mask].mean() > 10 * repaired[~mask].mean()
