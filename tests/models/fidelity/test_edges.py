"""What lies on a ridge that the neighbouring frames have too."""

import numpy as np
import pytest
import torch

from models.fidelity.edges import ridges
from models.fidelity.regions import Seen
from models.frame_state import FrameState

SIDE, GREY = 96, 0.4


def measured(region: tuple[int, int], ridge: float, value: float = 0.1) -> float:
    """The ridge of a stripe of 6 x 40 pixels, in a frame where a region of it differs.

    Both neighbours have the stripe, brighter than grey by ``ridge``. The frame has it too, and is
    brighter by ``value`` at 12 rows from ``region`` on (x, y).
    """
    neighbour = np.full((SIDE, SIDE), GREY, np.float32)
    neighbour[30:70, 45:51] += ridge
    here = neighbour.copy()
    x, y = region
    here[y : y + 12, x : x + 6] += value
    brighter = torch.from_numpy(255 * (here - neighbour))
    source = np.repeat(here[..., None], 3, 2)
    frame = FrameState(2, source, source, differences=torch.stack([brighter] * 2), noise=0.0)
    seen = Seen.before_network(source, torch.stack([brighter] * 2).numpy(), 0.0)
    (found,) = ridges(frame, seen.regions, seen.labels)
    return float(found)


def test_a_stripe_that_a_jolt_brightens_is_a_ridge() -> None:
    assert measured((45, 44), ridge=0.3) > 2
    assert measured((45, 44), ridge=-0.3, value=-0.1) > 2


def test_dust_on_a_plain_ground_or_on_a_stripe_of_the_other_kind_is_on_none() -> None:
    assert measured((10, 10), ridge=0.3) == pytest.approx(0, abs=0.1)
    assert measured((45, 44), ridge=-0.3) < -2
    assert measured((45, 44), ridge=0.05) < 1
    assert measured((60, 44), ridge=0.3) == pytest.approx(0, abs=0.1)


def test_a_region_without_free_surroundings_is_on_none() -> None:
    labels = np.ones((SIDE, SIDE), np.int32)
    frame = FrameState(
        0, np.zeros((SIDE, SIDE, 3), np.float32), np.zeros((SIDE, SIDE, 3), np.float32)
    )
    brighter = np.full((2, SIDE, SIDE), 20.0, np.float32)
    seen = Seen.before_network(frame.source, brighter, 0.0)
    both = torch.from_numpy(brighter)
    whole = FrameState(0, frame.source, frame.source, differences=both, noise=0.0)
    assert ridges(whole, seen.regions, labels).tolist() == [0.0] * len(seen.regions)
    assert ridges(whole, [], labels).shape == (0,)
