"""Evidence before repair: what is there once is repaired, what may be real keeps its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from models.fidelity.evidence import Accepted, apply_decisions, find_suspects
from models.frame_state import FrameState, Repair, Suspects
from schemas.repairs import WHY

SIDE = 160
Place = tuple[int, int] | None  # x, y of a square's corner; None is a frame without one


def frame(index: int, place: Place, removed: float = 1.0, dust: Sequence[Place] = ()) -> FrameState:
    """A grey frame with a bright square, of which the network has removed a share, and dust."""
    plain = np.full((SIDE, SIDE, 3), 0.3, np.float32)
    source, left, defects = plain.copy(), plain.copy(), torch.zeros(SIDE, SIDE)
    for x, y in (one for one in (place, *dust) if one is not None):
        inside = slice(y, y + 10), slice(x, x + 10)
        source[inside] = 0.8
        defects[inside] = 1
        left[inside] += 0.5 * (1 - removed) if (x, y) == place else 0
    brighter = torch.from_numpy(255 * (source - plain)[..., 0])
    return FrameState(
        index,
        source,
        left,
        defects=defects,
        differences=torch.stack([brighter, brighter]),
        neighbours=plain,
        noise=0.0,
    )


DUST = ((110, 90), (130, 40), (20, 120))  # in one frame, clear of what the tests look at


def dirt(index: int) -> list[Place]:
    """Eight pieces of dust in the lower half, elsewhere in each of five frames."""
    return [(x, 85 + (7 * index + x) % 50) for x in range((0, 12, 8, 18, 4)[index], 150, 20)]


def decided(
    *places: Place,
    suspects: Suspects = "leave",
    removed: float = 1.0,
    worn: bool = False,
    accepted: Accepted | None = None,
) -> list[FrameState]:
    frames = [
        frame(index, place, removed, DUST if worn and index == 1 else ())
        for index, place in enumerate(places)
    ]
    return list(apply_decisions(find_suspects(frames, suspects, accepted)))


def of(state: FrameState) -> list[tuple[str, str]]:
    return [(record.decision, record.why) for record in state.repairs]


TRAVELLING: tuple[Place, ...] = ((20, 20), (40, 28), (60, 36), (80, 44))


def test_a_travelling_square_keeps_its_pixels() -> None:
    states = decided(*TRAVELLING)
    assert [state.index for state in states] == [0, 1, 2, 3]
    for state, place in zip(states[1:3], TRAVELLING[1:3], strict=True):
        assert place is not None
        x, y = place
        inside = slice(y, y + 10), slice(x, x + 10)
        assert np.abs(state.image[inside] - state.source[inside]).max() < 0.01
        assert np.abs(state.image[:, :20] - 0.3).max() == 0  # nothing else changes
        assert of(state) == [("suspect", "path")]


@pytest.mark.parametrize(("last", "why"), [((61, 36), "clear"), ((60, 36), "path")])
def test_in_dirty_film_only_a_close_path_counts(last: Place, why: str) -> None:
    """Among much dust, three pieces lie nearly on a line by chance."""
    places = (None, (20, 20), (40, 28), last, None)
    states = [frame(index, place, dust=dirt(index)) for index, place in enumerate(places)]
    assert decided(*places)[2].repairs[0].why == "path"
    whys = [record.why for record in list(find_suspects(states))[2].repairs if record.box[1] < 60]
    assert whys == [why]


@pytest.mark.parametrize(("dirty", "decision"), [(True, "repair"), (False, "suspect")])
def test_in_dirty_film_a_stain_through_which_the_picture_shows_is_repaired(
    dirty: bool, decision: str
) -> None:
    """Its pixels are hardly darker than others near it, as those of a thing in motion are."""
    states = [frame(index, None, dust=dirt(index) if dirty else ()) for index in range(5)]
    stripes = np.float32(0.15) * (np.arange(SIDE) % 6 < 3)
    stain = cv2.GaussianBlur(
        np.pad(np.full((16, 16), 0.5, np.float32), ((30, 114), (40, 104))), (0, 0), 2
    )
    for state in states:
        state.source[:] -= stripes[:, None]
        state.image[:] -= stripes[:, None]
    middle = states[2]
    darker = stain * (middle.source.mean(2) - 0.08)
    middle.source[:] -= darker[..., None]
    assert middle.differences is not None and middle.defects is not None
    middle.differences[:] -= torch.from_numpy(255 * darker)
    beside = 20 * (stain[:70] < 0.01) * np.where(np.arange(SIDE) % 8 < 4, 1, -1)  # it moves
    middle.differences[:, :70] += torch.from_numpy(np.stack([beside, -beside]))
    middle.defects[30:46, 40:56] = 1
    records = [one for one in list(find_suspects(states))[2].repairs if one.box[1] < 60]
    assert {record.decision for record in records} == {decision}


def test_a_suspect_that_a_person_accepted_is_repaired() -> None:
    (record,) = decided(*TRAVELLING)[1].repairs
    x, y, wide, high = record.box
    states = decided(*TRAVELLING, accepted={1: [(x + 1, y, wide, high)], 2: [(0, 0, 9, 9)]})
    assert of(states[1]) == [("repair", "accepted")]
    assert np.abs(states[1].image - 0.3).max() < 0.01
    assert of(states[2]) == [("suspect", "path")]  # another place was accepted there


def test_what_is_there_once_is_repaired() -> None:
    states = decided(None, None, (40, 28), None, None)
    assert np.abs(states[2].image - 0.3).max() < 0.01
    assert of(states[2]) == [("repair", "clear")]
    assert {why for state in states for _, why in of(state)} <= WHY.keys()


def test_neighbours_fill_what_the_network_leaves() -> None:
    states = decided(None, None, (40, 28), None, None, removed=0.55, worn=True)
    centre = states[2].image[33, 45]
    assert np.abs(centre - 0.3).max() < 0.01
    untouched = decided(None, None, (40, 28), None, None, removed=0.0, worn=True)[2]
    assert untouched.repairs == () or np.abs(untouched.image[33, 45] - 0.3).max() < 0.01


def test_a_doubtful_region_stays_where_no_clear_defect_is_near() -> None:
    """The network leaves nearly half of it, and the film has no other dust."""
    alone = decided(None, None, (40, 28), None, None, removed=0.55)[2]
    assert np.abs(alone.image - alone.source).max() < 0.01
    assert of(alone) == [("suspect", "lone")]


def test_a_large_region_stays_where_no_clear_defect_is_near() -> None:
    """It may be a shadow in fast motion. In worn film it is a blotch."""
    for worn, decision in ((False, "suspect"), (True, "repair")):
        states = [frame(i, None, dust=DUST if worn and i == 1 else ()) for i in range(5)]
        source = states[2].source.copy()
        source[30:60, 30:60] = 0.8
        brighter = torch.from_numpy(255 * (source - np.float32(0.3))[..., 0])
        states[2] = replace(states[2], source=source, differences=torch.stack([brighter] * 2))
        assert [d for d, _ in of(list(find_suspects(states))[2])] == [decision]


def test_a_filled_defect_is_recorded_as_far_as_it_stands_out() -> None:
    """The network leaves nearly half of it, with and without suspects."""
    policies: tuple[Suspects, ...] = ("leave", "repair")
    for policy in policies:
        state = decided(None, None, (40, 28), None, None, removed=0.55, suspects=policy, worn=True)[
            2
        ]
        (record,) = state.repairs
        assert record.decision == "repair" and record.bright and record.change > 60
        assert np.abs(state.image[33, 45] - 0.3).max() < 0.01


def test_the_fill_has_the_exposure_of_its_frame() -> None:
    """The whole frame is 0.02 darker than its neighbours; what fills the square is as well."""
    states = [frame(0, None), frame(1, None, dust=DUST)]
    here = frame(2, (40, 28), removed=0.55)
    darker = 0.02
    assert here.differences is not None
    states.append(
        FrameState(
            2,
            here.source - darker,
            here.image - darker,
            defects=here.defects,
            differences=here.differences - 255 * darker,
            neighbours=here.neighbours,
            noise=0.0,
        )
    )
    states += [frame(index, None) for index in (3, 4)]
    restored = list(apply_decisions(find_suspects(states)))[2]
    assert np.abs(restored.image[33, 45] - 0.28).max() < 0.01


def test_what_the_network_removes_without_a_defect_keeps_the_source() -> None:
    """The neighbours have it as well: it is part of the scene."""
    states = [frame(index, (40, 28)) for index in range(5)]
    for state in states:
        assert state.differences is not None
        state.differences.zero_()
    middle = list(apply_decisions(find_suspects(states)))[2]
    assert np.abs(middle.image[33, 45] - 0.8).max() < 0.01
    assert of(middle) == [("suspect", "unlike_dust")]
    assert middle.repairs[0].probability is None  # nothing stands out that could be measured


def test_an_upright_line_that_is_there_in_every_frame_stays() -> None:
    """It may be a pole, the edge of a door or the stripe of a pair of trousers."""
    states = []
    for index in range(5):
        state = frame(index, None)
        source, defects = state.source.copy(), torch.zeros(SIDE, SIDE)
        source[20:140, 70:73] = 0.8
        defects[20:140, 70:73] = 1
        states.append(
            FrameState(
                index,
                source,
                state.image,
                defects=defects,
                differences=torch.zeros(2, SIDE, SIDE),
                neighbours=source,
                noise=0.0,
            )
        )
    middle = list(apply_decisions(find_suspects(states)))[2]
    assert np.abs(middle.image - middle.source).max() < 0.01
    assert of(middle) == [("suspect", "upright")]
    scratch = list(apply_decisions(find_suspects(states, "scratches")))[2]
    assert np.abs(scratch.image - 0.3).max() < 0.01
    assert of(scratch) == [("repair", "upright")]
    assert scratch.defects is not None and float(scratch.defects[80, 71]) > 0.9
    unmarked = [replace(state, defects=torch.zeros(SIDE, SIDE)) for state in states]
    left = list(apply_decisions(find_suspects(unmarked, "scratches")))[2]
    assert of(left) == [("suspect", "upright")]


def test_an_upright_line_of_one_frame_is_repaired() -> None:
    states = [frame(index, None, dust=DUST if index == 1 else ()) for index in range(5)]
    source = states[2].source.copy()
    source[20:140, 70:73] = 0.8
    brighter = torch.from_numpy(255 * (source - np.float32(0.3))[..., 0])
    states[2] = replace(states[2], source=source, differences=torch.stack([brighter, brighter]))
    middle = list(apply_decisions(find_suspects(states)))[2]
    assert np.abs(middle.image - 0.3).max() < 0.01
    assert of(middle) == [("repair", "clear")]


@pytest.mark.parametrize(("turned", "why"), [(False, "upright"), (True, "rim")])
def test_the_bright_rim_of_a_pillar_stays(turned: bool, why: str) -> None:
    """It comes and goes as the car shakes; the edge is there in every frame. So with a board."""
    states = [frame(index, None, dust=DUST if index == 1 else ()) for index in range(5)]
    for index, state in enumerate(states):
        source, image = state.source.copy(), state.image.copy()
        for picture in (source, image):
            picture[:, :70] -= 0.25
        source[20:140, 70:73] += 0.1 if index == 2 else 0
        if turned:
            source, image = (picture.transpose(1, 0, 2) for picture in (source, image))
        brighter = torch.from_numpy(255 * (source - image)[..., 0])
        states[index] = replace(
            state, source=source, image=image, differences=torch.stack([brighter, brighter])
        )
    middle = list(apply_decisions(find_suspects(states)))[2]
    assert of(middle) == [("suspect", why)]
    assert np.abs(middle.image - middle.source).max() < 0.01


def test_among_things_in_motion_a_lone_region_may_be_one_more() -> None:
    """Three squares travel in every frame; a fourth is there once."""
    frames = []
    for index in range(7):
        states = [frame(index, (20 + 18 * index, top)) for top in (15, 55, 95)]
        if index == 3:
            states.append(frame(index, (30, 130)))
        source = np.maximum.reduce([state.source for state in states])
        defects = torch.stack([s.defects for s in states if s.defects is not None]).amax(0)
        brighter = torch.from_numpy(255 * (source - np.float32(0.3))[..., 0])
        frames.append(
            FrameState(
                index,
                source,
                states[0].image,
                defects=defects,
                differences=torch.stack([brighter, brighter]),
                noise=0.0,
            )
        )
    middle = list(find_suspects(frames))[3]
    whys = {record.box[1] > 120: record.why for record in middle.repairs}
    assert whys == {False: "path", True: "swarm"}


def test_every_region_is_recorded_with_its_box_and_change() -> None:
    (record,) = decided(None, None, (40, 28), None, None)[2].repairs
    assert isinstance(record, Repair)
    x, y, wide, high = record.box
    assert abs(x - 40) <= 2 and abs(y - 28) <= 2 and 10 <= wide <= 14 and 10 <= high <= 14
    assert record.bright and 100 <= record.area <= 196 and 60 < record.change <= 128
    assert record.probability is not None and record.probability > 0.8  # clear: log odds of 1.5


def test_a_record_counts_the_things_around_it() -> None:
    """What the network does not take away is unlike dust. It counts up to SIDE / 10 pixels away."""
    states = [frame(index, None, dust=((60, 60), (120, 120)) * (index == 2)) for index in range(5)]
    middle = states[2]
    assert middle.differences is not None
    for x, y in ((48, 56), (62, 48), (72, 76), (90, 60)):
        inside = slice(y, y + 5), slice(x, x + 5)
        middle.source[inside] += 0.04
        middle.image[inside] += 0.12
        middle.differences[(slice(None), *inside)] = 255 * 0.04
    records = list(find_suspects(states))[2].repairs
    assert [one.crowd for one in records if one.why == "clear"] == [3, 0]


def test_what_lies_along_the_frames_edge_stays() -> None:
    """The picture shifts in the gate, and a bright line beside it comes into view."""
    states = [frame(index, None) for index in range(5)]
    here = states[2]
    source, defects = here.source.copy(), torch.zeros(SIDE, SIDE)
    source[30:120, :14] = 0.8
    defects[30:120, :14] = 1
    brighter = torch.from_numpy(255 * (source - here.source)[..., 0])
    states[2] = FrameState(
        2, source, here.image, defects=defects, differences=torch.stack([brighter] * 2), noise=0.0
    )
    middle = list(apply_decisions(find_suspects(states)))[2]
    assert of(middle) == [("suspect", "edge")]
    assert np.abs(middle.image - middle.source).max() < 0.01


@pytest.mark.parametrize(("count", "why"), [(2, "clear"), (3, "edge")])
@pytest.mark.parametrize(
    "bar",
    [
        pytest.param((), id="no bar"),
        pytest.param((0, 0, 0, 0), id="black"),
        pytest.param((0, 0, 0.02, 0.06, 0.08, 0.1), id="soft"),
    ],
)
def test_several_regions_at_one_edge_are_a_shift_in_the_gate(
    count: int, why: str, bar: Sequence[float]
) -> None:
    """Also beside a black bar, and beside a dark one with a soft edge."""
    places = [(len(bar), 30 + 40 * number) for number in range(count)]
    states = [frame(index, None, dust=places if index == 2 else ()) for index in range(5)]
    for state in states:
        for column, level in enumerate(bar):
            state.source[:, column] = state.image[:, column] = level
    assert {reason for _, reason in of(list(find_suspects(states))[2])} == {why}


@pytest.mark.parametrize(("dirty", "why"), [(True, "clear"), (False, "edge")])
def test_in_dirty_film_what_reaches_deeper_than_a_shift_is_repaired(dirty: bool, why: str) -> None:
    """A shift in the gate shows a strip, equally deep all along the edge."""
    states = [frame(index, None, dust=dirt(index) if dirty else ()) for index in range(5)]
    middle = states[2]
    assert middle.differences is not None
    for x, wide, deep in ((10, 6, 4), (60, 12, 30), (110, 6, 4), (140, 6, 4)):
        middle.source[:deep, x : x + wide] = 0.8
        middle.differences[:, :deep, x : x + wide] = 255 * 0.5
    whys = {one.box[0]: one.why for one in list(find_suspects(states))[2].repairs if one.box[1] < 5}
    assert {why for x, why in whys.items() if 50 < x < 70} == {why}
    assert {why for x, why in whys.items() if not 50 < x < 70} == {"edge"}


def test_the_ends_of_a_shot_are_judged_by_two_frames_on_one_side() -> None:
    places: tuple[Place, ...] = ((40, 28), None, None, None, (90, 28))
    states = decided(*places)
    for state in (states[0], states[-1]):
        assert np.abs(state.image - 0.3).max() < 0.01
        assert of(state) == [("repair", "clear")]


def test_suspects_that_are_not_kept_are_repaired_and_recorded() -> None:
    state = decided(*TRAVELLING, suspects="repair")[1]
    assert np.abs(state.image - 0.3).max() == 0
    assert of(state) == [("repair", "path")]


def test_short_streams_pass() -> None:
    for count in range(4):
        assert len(decided(*TRAVELLING[:count])) == count
