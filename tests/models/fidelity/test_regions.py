"""Regions that stand out, and the measures that tell a defect from a thing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.fidelity.compared import smaller
from models.fidelity.decision import SHIPPED
from models.fidelity.evidence import log_odds
from models.fidelity.regions import Seen, crowds
from models.frame_state import FrameState

SIDE = 128
Plane = NDArray[np.float32]


def texture(seed: int = 0, amount: float = 12.0) -> Plane:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    return (110 + amount * smooth / smooth.std()).astype(np.float32)


def seen(here: Plane, before: Plane, after: Plane, restored: Plane) -> Seen:
    def rgb(plane: Plane) -> Plane:
        return np.repeat(plane[..., None] / np.float32(255), 3, 2)

    differences = torch.from_numpy(np.stack([here - before, here - after]))
    return Seen.of(FrameState(0, rgb(here), rgb(restored), differences=differences, noise=1.0))


def with_speck(plane: Plane, left: int = 50) -> Plane:
    there = plane.copy()
    there[60:66, left : left + 7] = 230.0
    return there


def test_a_speck_on_a_steady_background_is_a_defect() -> None:
    plain = texture()
    found = seen(with_speck(plain), plain, plain, plain)
    (region,) = found.regions
    x, y, wide, high = region.box
    assert (x, y) <= (50, 60) and x + wide >= 57 and y + high >= 66 and region.bright
    assert log_odds(found.measures)[0] > SHIPPED.defect_from
    measures = [float(values[0]) for values in found.measures]
    unexplained, unlike, moved, surroundings, _, again = measures
    assert min(unexplained, unlike) > 0.7 and 0.8 < moved < 1.3
    assert surroundings < 0.1 and again == 0


def test_a_small_displacement_explains_a_thing() -> None:
    """A bar moves by 3 pixels a frame: it stands out where it is not in the other frames."""
    plain = texture()

    def bar(left: int) -> Plane:
        there = plain.copy()
        there[20:110, left : left + 2] = 230
        return there

    found = seen(bar(60), bar(57), bar(63), plain)
    at = max(found.regions, key=lambda region: region.strength).label - 1
    assert found.measures.unexplained[at] < 0.1
    speck = seen(with_speck(plain), plain, plain, plain)
    assert log_odds(found.measures)[at] < log_odds(speck.measures)[0] - 1


def test_surroundings_that_differ_speak_for_a_thing() -> None:
    """The scene moves and the match fails: before and after, another picture lies here."""
    plain = texture()
    calm = seen(with_speck(plain), plain, plain, plain)
    elsewhere = plain + 40 * (-1) ** np.arange(SIDE)  # stripes: no pixel beyond both neighbours
    wild = seen(with_speck(plain), elsewhere, 2 * plain - elsewhere, plain)
    at = wild.labels[63, 53] - 1
    assert wild.measures.surroundings[at] > calm.measures.surroundings[0] + 0.1
    assert log_odds(wild.measures)[at] < log_odds(calm.measures)[0]


def test_a_region_among_regions_has_no_calm_surroundings() -> None:
    plain, moving = texture(), texture(1, 40.0)
    found = seen(moving, plain, plain, plain)
    assert len(found.regions) > 3
    assert found.measures.surroundings.min() > 0


def test_what_stands_out_again_at_its_place_twinkles() -> None:
    plain = texture()
    speck = seen(with_speck(plain), plain, plain, plain)
    other = seen(with_speck(plain, left=90), plain, plain, plain)
    again = speck.with_neighbours([speck, other])
    assert again.again[0] == pytest.approx(1.0)
    assert log_odds(again)[0] < log_odds(speck.with_neighbours([other, other]))[0]


def test_flicker_is_no_region() -> None:
    plain = texture()
    assert seen(plain + 6, plain, plain, plain).regions == ()


def test_no_region_has_no_measures() -> None:
    plain = texture()
    found = seen(plain, plain, plain, plain)
    assert found.regions == () and log_odds(found.measures).shape == (0,)


def test_the_smaller_difference_counts_if_both_agree() -> None:
    first, second = np.array([[3, -4, 5]], np.float32), np.array([[2, -6, -1]], np.float32)
    assert smaller(first, second).tolist() == [[2, -4, 0]]


def test_regions_within_a_tenth_of_the_width_are_a_crowd() -> None:
    """Counted in cells of 4 pixels, from centre to centre, to the edges of the picture."""
    others = [(0, 0, 4, 4), (100, 50, 8, 8), (120, 50, 8, 8), (120, 90, 6, 4), (636, 356, 4, 4)]
    boxes = [(100, 50, 8, 8), (124, 52, 4, 4), (300, 200, 20, 20), (636, 356, 4, 4)]
    assert crowds(boxes, others, 360, 640) == [3, 3, 0, 1]
    assert crowds(boxes, [], 360, 640) == [0] * 4 and crowds([], others, 360, 640) == []
