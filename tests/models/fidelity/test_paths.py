"""Paths: what chance would hardly bring about is a thing in motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.fidelity.paths import NO_PATH, false_alarms
from models.fidelity.regions import Seen
from models.frame_state import FrameState

SIDE = 160
Place = tuple[int, int]  # x, y of a square's corner


def seen(*places: Place, side: int = 8, value: float = 0.8, repeats: int | None = None) -> Seen:
    """A grey frame with squares, none of which its neighbours have.

    It ``repeats`` the frame before (0) or after (1).
    """
    plain = np.full((SIDE, SIDE, 3), 0.3, np.float32)
    source = plain.copy()
    for x, y in places:
        source[max(y, 0) : y + side, max(x, 0) : x + side] = value
    brighter = torch.from_numpy(255 * (source - plain)[..., 0])
    differences = torch.stack([brighter, brighter])
    if repeats is not None:
        differences[repeats] = 0
    return Seen.of(FrameState(0, source, plain, differences=differences, noise=0.0))


def alarms(here: Seen, around: dict[int, Seen]) -> float:
    return false_alarms(here.regions[0], here, around)


def test_a_straight_path_through_three_frames_is_found() -> None:
    here = seen((60, 60))
    assert alarms(here, {-1: seen((42, 52)), 1: seen((78, 68))}) < -1.5


@pytest.mark.parametrize(("before", "after"), [(0, None), (None, 1), (0, 1)])
def test_a_path_goes_on_where_the_next_frame_is_repeated(
    before: int | None, after: int | None
) -> None:
    """Nothing stands out of the same frame once more."""
    around = {-1: seen((42, 52), repeats=before), 1: seen((78, 68), repeats=after)}
    assert alarms(seen((60, 60)), around) < -1.5


@pytest.mark.parametrize("side", [1, -1])
def test_what_enters_or_goes_lies_on_a_path_of_one_side(side: int) -> None:
    around = {side: seen((60 + 18 * side, 60)), 2 * side: seen((60 + 36 * side, 60))}
    assert alarms(seen((60, 60)), around) < -1.5


@pytest.mark.parametrize("way", [1, -1])
def test_a_path_of_one_side_goes_on_past_a_repeated_frame(way: int) -> None:
    once = seen((60 + 18 * way, 60), repeats=int(way > 0))
    again = seen((60 + 18 * way, 60), repeats=int(way < 0))
    third = seen((60 + 36 * way, 60))
    assert alarms(seen((60, 60)), {way: once, 2 * way: again, 3 * way: third}) < -1.5
    assert alarms(seen((60, 60)), {way: once, 2 * way: again}) > -1


@pytest.mark.parametrize("way", [1, -1])
def test_a_path_through_four_frames_may_bend(way: int) -> None:
    """A ball that comes nearer while the camera pans: it bends by 6 pixels in each frame."""
    places = {-2: (22, 60), -1: (44, 60), 1: (70, 60)}
    around = {way * at: seen((60 + way * (x - 60), y)) for at, (x, y) in places.items()}
    assert alarms(seen((60, 60)), around) < -1.2
    for left_out in around:
        shorter = {at: one for at, one in around.items() if at != left_out}
        assert alarms(seen((60, 60)), shorter) > -0.8


@pytest.mark.parametrize(
    "around",
    [
        {},
        {1: seen((78, 68))},  # once is no path
        {-1: seen((42, 52)), 1: seen((42, 52))},  # it turns back
        {-1: seen((42, 52), value=0.1), 1: seen((78, 68), value=0.1)},  # dark, the region is bright
        {-1: seen((42, 52), side=30), 1: seen((78, 68), side=30)},  # much larger
        {-1: seen((2, 2)), 1: seen((130, 130))},  # faster than the search reaches
    ],
)
def test_what_has_no_path_is_left_to_chance(around: dict[int, Seen]) -> None:
    assert alarms(seen((60, 60)), around) > 0


def test_no_neighbours_like_it_give_the_highest_number() -> None:
    assert alarms(seen((60, 60)), {}) > NO_PATH


def test_among_much_dust_a_path_is_chance() -> None:
    rng = np.random.default_rng(1)
    cells = [(x, y) for x in range(10, 150, 14) for y in range(10, 150, 14)]

    def dust() -> list[Place]:
        return [cells[at] for at in rng.choice(len(cells), 30, replace=False)]

    here = seen((60, 60))
    alone = alarms(here, {-1: seen((42, 52)), 1: seen((78, 68))})
    among = alarms(here, {-1: seen((42, 52), *dust()), 1: seen((78, 68), *dust())})
    assert among > alone + 1


def test_two_parts_that_join_are_one_thing() -> None:
    """A piece of ice that is one streak here and two in the next frame is still found."""
    here = seen((60, 60), side=12)
    around = {-1: seen((36, 60), (46, 60), side=7), 1: seen((84, 60), (94, 60), side=7)}
    assert alarms(here, around) < -0.5


def test_the_frames_edge_may_cut_a_thing_off() -> None:
    """Only 8x3 pixels of it are in the picture; it is whole in the next frames."""
    here = seen((60, -5))
    assert alarms(here, {1: seen((60, 20)), 2: seen((60, 45))}) < -1.4
    inside = seen((60, 60), side=3)
    assert alarms(inside, {1: seen((60, 80)), 2: seen((60, 105))}) > -1.3
