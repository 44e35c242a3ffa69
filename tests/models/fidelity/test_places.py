"""Where a repair is possible, before the network has run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.fidelity import places
from models.fidelity.decision import SHIPPED
from models.fidelity.evidence import log_odds
from models.fidelity.grain import find_grain
from models.fidelity.places import GRID, places_of
from models.fidelity.regions import Seen, mask_of
from models.frame_state import FrameState

HEIGHT, WIDTH = 150, 230
Plane = NDArray[np.float32]


def scene(speck: bool = False, moved: int = 0) -> Plane:
    """A view whose left half is in motion: it is another one for another ``moved``."""
    rng = np.random.default_rng(moved)
    plane = np.full((HEIGHT, WIDTH), 110, np.float32)
    texture = cv2.GaussianBlur(rng.normal(size=(HEIGHT, 100)).astype(np.float32), (0, 0), 4)
    plane[:, :100] += 45 * texture / texture.std()
    if speck:
        plane[60:66, 140:148] = 230
    return plane


def seen(here: Plane, before: Plane, after: Plane) -> Seen:
    raw = np.stack([here - before, here - after])
    return Seen.before_network(np.repeat(here[..., None] / np.float32(255), 3, 2), raw, 1.0)


def test_a_speck_is_a_place_with_its_surroundings_on_the_grid() -> None:
    ((x, y, wide, high),) = places_of(seen(scene(speck=True), scene(), scene()), 0, {})
    assert x <= 140 - 8 and x + wide >= 148 + 8 and y <= 60 - 8 and y + high >= 66 + 8
    assert wide <= 64 and high <= 64
    assert x % GRID == y % GRID == (x + wide) % GRID == (y + high) % GRID == 0


def test_what_moves_is_no_place() -> None:
    """Whatever the network makes of it, it is no defect."""
    found = seen(scene(moved=1), scene(moved=2), scene(moved=3))
    assert len(found.regions) > 3
    assert len(places_of(found, 0, {})) < len(found.regions) / 2


@pytest.mark.parametrize("side", [6, 16])
def test_a_doubtful_region_is_a_place_if_it_is_as_large_as_a_stain(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In dirty film, lower odds are enough for one."""
    odds = (SHIPPED.stain_from + SHIPPED.defect_from) / 2
    monkeypatch.setattr(places, "log_odds", lambda measures: np.full(len(measures.moved), odds))
    here = scene()
    here[60 : 60 + side, 140 : 140 + side] = 230
    found = seen(here, scene(), scene())
    assert len(found.regions) == 1
    assert len(places_of(found, 0, {})) == (side == 16)


def test_no_region_is_no_place() -> None:
    assert places_of(seen(scene(), scene(), scene()), 0, {}) == ()


def test_what_a_person_accepted_is_a_place_in_its_frame() -> None:
    still = seen(scene(), scene(), scene())
    ((x, y, wide, high),) = places_of(still, 4, {4: [(200, 100, 25, 40)], 5: [(0, 0, 9, 9)]})
    assert x <= 200 and y <= 100 and (x + wide, y + high) == (WIDTH, HEIGHT)


def test_no_region_outside_of_places_can_become_a_defect() -> None:
    """The network's measure is filled in later."""
    here = scene(True, moved=1)
    found = seen(here, scene(moved=2), scene(moved=3))
    source = np.repeat(here[..., None] / np.float32(255), 3, 2)
    image = np.full_like(source, 110 / 255)
    after = found.with_network(source, image)
    assert not found.measures.moved.any() and after.measures.moved.max() > 0.9
    held = mask_of(places_of(found, 0, {}), HEIGHT, WIDTH)
    inside = {int(label) for label in np.unique(after.labels[held])} - {0}
    defects = {
        region.label
        for region, odds in zip(after.regions, log_odds(after.measures), strict=True)
        if odds >= SHIPPED.defect_from
    }
    assert found.labels[62, 144] in defects and defects <= inside
    assert len(places_of(found, 0, {})) < len(found.regions)
    state = FrameState(0, source, image, differences=torch.zeros(2, HEIGHT, WIDTH), seen=found)
    assert np.array_equal(Seen.of(state).measures.moved, after.measures.moved)


def test_grain_for_a_repair_comes_from_places() -> None:
    """Elsewhere the network has taken nothing."""
    rng = np.random.default_rng(5)
    source = np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    source += rng.normal(0, 6 / 255, (HEIGHT, WIDTH, 1)).astype(np.float32)
    image, places = source.copy(), ((64, 48, 64, 64), (163, 5, 64, 64))
    for x, y, wide, high in places:
        image[y : y + high, x : x + wide] = 0.4
    repair = np.zeros((HEIGHT, WIDTH), np.float32)
    repair[50:110, 68:124] = 1  # no room beside it for another of its size
    state = FrameState(0, source, image, defects=torch.from_numpy(repair), places=places)
    (found,) = find_grain([state])
    assert found.grain is not None
    assert 255 * found.grain[repair > 0].std() > 4
