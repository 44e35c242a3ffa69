"""Evidence before repair: what travels is kept, what is there once is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch

from models.fidelity.evidence import Region, find_suspects, is_on_path, restore_suspects
from models.frame_state import FrameState, Why
from schemas.repairs import WHY

SIDE = 160
RADIUS = SIDE / 5


def thing(
    x: float, y: float, area: int = 100, bright: bool = True, upright: bool = False
) -> Region:
    return Region(x, y, area, bright, upright, 1)


def test_a_thing_on_a_straight_path_is_found() -> None:
    assert is_on_path(thing(50, 50), [thing(30, 42)], [thing(70, 58)], RADIUS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [thing(70, 58)]),  # it appears
        ([thing(30, 42)], []),  # it goes
        ([thing(30, 42)], [thing(30, 42)]),  # it turns back
        ([thing(30, 42, bright=False)], [thing(70, 58)]),
        ([thing(30, 42, area=1000)], [thing(70, 58)]),
        ([thing(5, 5)], [thing(95, 95)]),  # faster than the search reaches
    ],
)
def test_what_has_no_path_is_a_defect(before: Sequence[Region], after: Sequence[Region]) -> None:
    assert not is_on_path(thing(50, 50), before, after, RADIUS)


def test_an_upright_line_is_a_scratch_although_it_stays() -> None:
    line = thing(50, 50, upright=True)
    assert not is_on_path(line, [line], [line], RADIUS)


def test_among_much_dust_a_path_is_chance() -> None:
    rng = np.random.default_rng(0)
    dust = [thing(*place) for place in rng.uniform(50 - RADIUS, 50 + RADIUS, (40, 2))]
    near = [thing(50 - 10, 50 - 4), *dust], [thing(50 + 18, 50 + 4), *dust]
    assert is_on_path(thing(50, 50), near[0][:1], near[1][:1], RADIUS)
    assert not is_on_path(thing(50, 50), *near, RADIUS) or _closest(near) < 3


def _closest(near: tuple[Sequence[Region], Sequence[Region]]) -> float:
    return min(np.hypot(p.x + q.x - 100, p.y + q.y - 100) for p in near[0] for q in near[1])


def frame(index: int, place: tuple[int, int] | None) -> FrameState:
    """A grey frame with a bright square, which the network has removed."""
    plain = np.full((SIDE, SIDE, 3), 0.3, np.float32)
    source, defects = plain.copy(), torch.zeros(SIDE, SIDE)
    if place is not None:
        x, y = place
        source[y : y + 10, x : x + 10] = 0.8
        defects[y : y + 10, x : x + 10] = 1
    brighter = torch.from_numpy(255 * (source - plain)[..., 0])
    return FrameState(
        index, source, plain, defects=defects, differences=torch.stack([brighter, brighter])
    )


def restored(*places: tuple[int, int] | None, keep: bool = True) -> list[FrameState]:
    frames = [frame(index, place) for index, place in enumerate(places)]
    return list(restore_suspects(find_suspects(frames, keep)))


def test_a_travelling_square_keeps_its_pixels_and_a_single_one_does_not() -> None:
    travelling = restored((20, 20), (40, 28), (60, 36), (80, 44))
    assert [state.index for state in travelling] == [0, 1, 2, 3]
    for state, (x, y) in zip(travelling[1:3], ((40, 28), (60, 36)), strict=True):
        inside = slice(y, y + 10), slice(x, x + 10)
        assert np.abs(state.image[inside] - state.source[inside]).max() < 0.01
        assert np.abs(state.image[:, :20] - 0.3).max() == 0  # nothing else changes
    single = restored(None, (40, 28), None)
    assert np.abs(single[1].image - 0.3).max() == 0


def test_short_streams_pass() -> None:
    assert len(restored((20, 20))) == 1
    assert len(restored((20, 20), (40, 28))) == 2
    assert restored() == []


def test_every_region_is_recorded_with_its_box_and_its_reason() -> None:
    states = restored((20, 20), (40, 28), (60, 36), (80, 44))
    records = [record for state in states for record in state.repairs]
    assert [record.box for record in records] == [
        (20, 20, 10, 10), (40, 28, 10, 10), (60, 36, 10, 10), (80, 44, 10, 10),
    ]  # fmt: skip
    assert [(r.decision, r.why) for r in records] == [
        ("repair", "shot_edge"), ("suspect", "path"), ("suspect", "path"), ("repair", "shot_edge"),
    ]  # fmt: skip
    assert {(r.area, r.bright, round(r.change, 1)) for r in records} == {(100, True, 127.5)}
    (record,) = restored(None, (40, 28), None)[1].repairs
    assert (record.decision, record.why) == ("repair", "one_frame")
    assert set(get_args(Why)) == WHY.keys()


def test_suspects_that_are_not_kept_are_repaired_and_recorded() -> None:
    state = restored((20, 20), (40, 28), (60, 36), keep=False)[1]
    assert np.abs(state.image - 0.3).max() == 0
    assert [(r.decision, r.why) for r in state.repairs] == [("repair", "path")]
