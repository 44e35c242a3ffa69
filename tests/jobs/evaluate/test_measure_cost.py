"""What measures cost beside a model: real frames through both, and names of clips that are read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jobs.evaluate.measure_cost import cost, read
from models.restorer import Restorer
from pipeline.media.rgb import write_rgb
from tests.support.media.scenes import sharp_scene


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cost") / "film.mkv"
    write_rgb(path, [np.stack([luma] * 3, -1) for luma in sharp_scene(1, 8)], Fraction(25))
    return path


def test_a_film_is_restored_and_measured_frame_by_frame(film: Path) -> None:
    found = cost(read(f"{film}:96x72", 5), Restorer("fast"), grain=1.0)
    assert (found.size, found.frames) == ("96x72", 5)
    assert 0 <= found.same <= 5
    assert 0 < found.measures and 0 < found.model
    assert found.ratio == found.measures / found.model


def test_a_clip_is_named_with_its_start_its_damage_and_its_size(film: Path) -> None:
    whole = read(str(film), 20)
    assert whole.shape == (8, 120, 160, 3)
    assert np.array_equal(read(f"{film}@3", 2), whole[3:5])
    assert read(f"{film}@6+film:64x48", 9).shape == (2, 48, 64, 3)
    assert not np.array_equal(read(f"{film}+tape", 2), whole[:2])


def test_a_clip_that_is_not_there_is_an_error(film: Path) -> None:
    with pytest.raises(ValueError, match=r"no such clip: none\.mkv; name a file"):
        read("none.mkv", 2)
    with pytest.raises(ValueError, match="has no frame 8; name an earlier one"):
        read(f"{film}@8", 2)
