"""What is repaired among many things in motion."""

import numpy as np

from models.fidelity.decision import SHIPPED, UNSEEN, Facts, decide
from models.fidelity.regions import Region

PATH = -4.0  # log10 of the false alarms of a region on a path


def frame(*regions: tuple[bool, float, int, float], crowd: int = 0, unlike: int = 0) -> Facts:
    """A frame of regions: whether each is bright, its log odds, its area, its false alarms.

    Each has ``crowd`` others around it that are unlike dust.
    """
    found = tuple(
        Region(label, (9 * label, 9, 6, 6), area, bright, 60.0, 30.0)
        for label, (bright, _, area, _) in enumerate(regions, 1)
    )
    odds, alarms = (np.array([region[at] for region in regions]) for at in (1, 3))
    crowds = np.full(len(regions), crowd)
    return Facts(
        found,
        10**5,
        odds,
        np.ones(len(regions)),
        alarms,
        {},
        {},
        crowds,
        unlike,
        np.zeros(len(regions)),
    )


def test_dark_dust_goes_from_a_swarm_of_bright_ice() -> None:
    ice, still = [(True, 2.0, 30, PATH)] * 6, 1.0
    bright, dark = (True, 2.0, 30, still), (False, 2.0, 30, still)
    doubtful, large = (False, 1.0, 30, still), (False, 2.0, 900, UNSEEN)
    here = frame(*ice, bright, dark, doubtful, large)
    why = decide(here, [here], SHIPPED)
    assert {why[label] for label in range(1, 7)} == {"path"}
    # One more bright piece may be ice; what is dark must be small and clearly dust.
    assert [why.get(label) for label in (7, 8, 9, 10)] == ["swarm", None, "swarm", "swarm"]
    # Dark things that travel are a swarm of their own.
    birds = [(False, 2.0, 30, PATH)] * 3
    assert decide(frame(*ice, *birds, dark), [frame(*ice, *birds, dark)], SHIPPED)[10] == "swarm"


def test_a_ball_in_flight_is_no_sign_of_dust() -> None:
    """It is clear in every frame; its path bends, so nothing but a hint of it is seen."""
    hint = (SHIPPED.path_below + SHIPPED.path_hint) / 2
    ball, speck = (True, 2.0, 130, hint), (True, 2.0, 30, 1.0)
    near = [frame(ball, speck), frame(ball), frame(ball)]
    assert decide(near[0], near, SHIPPED) == {1: "path"}
    # In worn film chance lays dust so near to a path.
    worn = [*near, frame(speck, speck)]
    assert decide(near[0], worn, SHIPPED) == {}
    # Doubtful regions beside the ball stay as well: nothing else says that the film is worn.
    assert decide(frame(ball, (True, 1.0, 30, 1.0)), near, SHIPPED) == {1: "path", 2: "lone"}


def test_a_faint_speck_goes_from_dusty_film_if_nothing_around_it_is_unlike_dust() -> None:
    faint = (SHIPPED.apart_from + SHIPPED.defect_from) / 2
    speck, clear = (False, faint, 12, UNSEEN), (False, 2.0, 30, 1.0)
    beside = [frame(clear, clear)] * 2
    apart, among = (frame(speck, crowd=SHIPPED.apart_most + more) for more in (0, 1))
    assert decide(apart, [apart, *beside], SHIPPED) == {}
    assert decide(among, [among, *beside], SHIPPED) == {1: "unlike_dust"}
    # Nothing says that this film is worn; and in this one, far more is no dust.
    assert decide(apart, [apart], SHIPPED) == {1: "unlike_dust"}
    things = [frame(clear, clear, unlike=9)] * 2
    assert decide(apart, [apart, *things], SHIPPED) == {1: "unlike_dust"}
    # A thing that travels alone is on a path.
    bird = frame((False, faint, 12, PATH))
    assert decide(bird, [bird, *beside], SHIPPED) == {1: "path"}


def test_clear_defects_among_things_in_motion_are_no_sign_of_dust() -> None:
    """Leaves in the wind stand out by the hundred, and a few of them are like clear defects."""
    doubtful, clear = (False, 1.0, 30, 1.0), (False, 2.0, 30, 1.0)
    here = frame(doubtful)
    leaves = [frame(clear, clear, crowd=SHIPPED.apart_most + 1)] * 2
    assert decide(here, [here, *leaves], SHIPPED) == {1: "lone"}
    assert decide(here, [here, *leaves, frame(clear)], SHIPPED) == {}


def test_what_lies_on_a_ridge_of_both_neighbours_stays() -> None:
    clear = (True, 2.0, 400, 1.0)
    here = frame(clear, clear, clear)
    ridges = np.array([SHIPPED.ridge - 0.1, SHIPPED.ridge + 0.1, 0.0])
    assert decide(here._replace(ridges=ridges), [here] * 3, SHIPPED) == {2: "ridge"}
