"""Loss of sharpness: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.optics import directed_blur, directed_kernel, sinc_ringing
from models.damage.simulator import (
    DEGRADATIONS,
    random_stream,
)
from tests.support.media.pictures import grey, rng


def test_directed_blur_has_its_deviations_along_and_across() -> None:
    right = np.arange(-9, 10)
    kernel = directed_kernel(3, 1, 0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((kernel.sum(0) * right**2).sum()) == pytest.approx(3, rel=0.03)
    assert np.sqrt((kernel.sum(1) * right**2).sum()) == pytest.approx(1, rel=0.03)
    assert np.allclose(directed_kernel(3, 1, np.pi / 2), kernel.T, atol=1e-6)


def test_directed_blur_turns_slowly_and_keeps_the_light() -> None:
    clip = grey(0, frames=6, size=33)
    clip[:, 16, 16] = 1000
    spots = directed_blur(clip, rng(), 3, 0.3)[..., 0]
    assert np.allclose(spots.sum((1, 2)), 1000, rtol=1e-4)
    across = np.arange(33) - 16
    moment = np.einsum("tyx,y,x->t", spots, across, across) / 1000  # px^2, tells the direction
    assert 0 < np.abs(np.diff(moment)).max() < 1


@pytest.mark.parametrize("cutoff", [2 / 7, 2 / 5, 2 / 3])
def test_sinc_ringing_overshoots_by_a_tenth(cutoff: float) -> None:
    step = grey(50, frames=1)
    step[:, :, 64:] = 150
    line = sinc_ringing(step, rng(), cutoff, 30)[0, 64, :, 0]
    assert line.max() - 150 == pytest.approx(10, abs=2)  # a pixel lies on the crest
    assert 50 - line.min() == pytest.approx(10, abs=2)
    assert line[2] == pytest.approx(50, abs=1.5)
    assert np.allclose(sinc_ringing(grey(90), rng(), cutoff), 90, atol=0.01)


def test_blur_has_its_width() -> None:
    clip = grey(0, frames=1, size=65)
    clip[0, 32, 32] = 255
    spot = DEGRADATIONS["blur"](clip, random_stream(0, "blur"), 1.2)[0, :, :, 0]
    offset = np.arange(65) - 32
    variance = (spot.sum(0) * offset**2).sum() / spot.sum()
    assert np.sqrt(variance) == pytest.approx(1.2, rel=0.05)
