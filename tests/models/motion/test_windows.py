"""Every frame gets an aligned window."""

import numpy as np
import pytest

from models.motion.windows import windows


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_frame_has_a_window(pan: list[np.ndarray], count: int) -> None:
    found = list(windows(pan[:count]))
    assert len(found) == count
    first_window, first_trust, there = found[0]
    assert first_window.shape == (5, 3, 96, 128)
    assert first_trust[:2].max() == 0  # nothing comes before the first frame
    assert there == tuple(range(1, min(count, 3)))
