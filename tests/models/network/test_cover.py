"""Tiles that cover places, at less cost than the whole frame."""

from __future__ import annotations

import numpy as np
import pytest

from models.network.cover import WHOLE_FROM, covering, decoded, margin_of, tiles
from models.network.need import TILE_MARGIN
from models.network.sizes import SIZES
from models.network.unet import DECODER_REACH, MULTIPLE

HEIGHT, WIDTH = 1088, 1920
Box = tuple[int, int, int, int]


def scattered(count: int, seed: int = 0) -> list[Box]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, (WIDTH - 60, HEIGHT - 60), (count, 2))
    return [(int(x), int(y), *rng.integers(8, 60, 2).tolist()) for x, y in corners]


@pytest.mark.parametrize("side", [0, 256])
@pytest.mark.parametrize("margin", [64, 128])
def test_tiles_hold_every_place_with_its_margin(side: int, margin: int) -> None:
    places = scattered(12)
    found = covering(places, HEIGHT, WIDTH, side, margin)
    assert found is not None
    kept = np.zeros((HEIGHT, WIDTH), bool)
    pixels = 0
    for tile in found:
        kept[tile.kept] = True
        for own, computed, length in zip(tile.kept, tile.computed, (HEIGHT, WIDTH), strict=True):
            assert computed.start == max(own.start - margin, 0)
            assert computed.stop == min(own.stop + margin, length)
            assert computed.start % MULTIPLE == computed.stop % MULTIPLE == 0
            assert not side or own.stop - own.start <= side
        pixels += np.prod([part.stop - part.start for part in tile.computed])
    assert all(kept[y : y + high, x : x + wide].all() for x, y, wide, high in places)
    assert pixels < HEIGHT * WIDTH
    assert covering(places[::-1], HEIGHT, WIDTH, side, margin) == found


@pytest.mark.parametrize("side", [0, 256])
def test_the_decoder_runs_for_every_place_in_a_tile_and_for_little_else(side: int) -> None:
    places = scattered(12)
    kept, pixels = np.zeros((HEIGHT, WIDTH), bool), 0
    for tile in tiles(HEIGHT, WIDTH, side):
        for part in decoded(places, tile):
            kept[part.kept] = True
            for own, computed, of in zip(part.kept, part.computed, tile.computed, strict=True):
                assert computed.start == max(own.start - DECODER_REACH, of.start)
                assert computed.stop == min(own.stop + DECODER_REACH, of.stop)
            pixels += np.prod([one.stop - one.start for one in part.computed])
        assert decoded(None, tile) == [tile]
    assert all(kept[y : y + high, x : x + wide].all() for x, y, wide, high in places)
    assert pixels < 0.2 * HEIGHT * WIDTH


def test_near_places_share_a_tile_and_distant_ones_do_not() -> None:
    near = covering([(100, 100, 20, 20), (150, 110, 20, 20)], HEIGHT, WIDTH, 0, 64)
    apart = covering([(100, 100, 20, 20), (900, 700, 20, 20)], HEIGHT, WIDTH, 0, 64)
    assert near is not None and apart is not None
    assert len(near) == 1 and len(apart) == 2


def test_many_places_are_the_whole_frame_and_none_are_no_tile() -> None:
    assert covering(scattered(300), HEIGHT, WIDTH, 0, 64) is None
    assert covering([(0, 0, WIDTH, int(WHOLE_FROM * HEIGHT))], HEIGHT, WIDTH, 0, 64) is None
    assert covering([], HEIGHT, WIDTH, 0, 64) == []


def test_a_deeper_network_and_more_steps_need_a_wider_margin() -> None:
    margins = {size: margin_of(size, 1) for size in SIZES}
    assert margins["large"] > margins["base"] == margins["fast"]
    assert margin_of("base", 2) == TILE_MARGIN
    assert all(margin % MULTIPLE == 0 for margin in margins.values())
