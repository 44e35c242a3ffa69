"""Random processes for damage."""

import pytest

from models.damage.processes import streaks
from tests.support.media.pictures import rng


def test_streaks_have_unit_variance() -> None:
    assert streaks((200, 400), 5, 0.8, rng()).std() == pytest.approx(1, abs=0.05)
