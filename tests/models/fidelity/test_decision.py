"""What is repaired among many things in motion."""

import numpy as np

from models.fidelity.decision import SHIPPED, UNSEEN, Facts, decide
from models.fidelity.regions import Region

PATH = -4.0  # log10 of the false alarms of a region on a path


def frame(*regions: tuple[bool, float, int, float]) -> Facts:
    """A frame of regions: whether each is bright, its log odds, its area, its false alarms."""
    found = tuple(
        Region(label, (9 * label, 9, 6, 6), area, bright, 60.0, 30.0)
        for label, (bright, _, area, _) in enumerate(regions, 1)
    )
    odds, alarms = (np.array([region[at] for region in regions]) for at in (1, 3))
    return Facts(found, 10**5, odds, np.ones(len(regions)), alarms, {}, {})


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
