"""A clip in motion."""

import numpy as np
import pytest

from tests.support.media.pictures import rng, texture


@pytest.fixture(scope="session")
def pan() -> list[np.ndarray]:
    """A texture that moves two pixels a frame."""
    wide = texture(rng(0))
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + 128]) for i in range(40)]
