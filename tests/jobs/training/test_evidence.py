"""The fit of the evidence: it finds what separates defects from things."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.training.evidence import Regions, fit
from models.fidelity.evidence import BIAS, DEVIATIONS, MEANS, WEIGHTS
from models.fidelity.regions import Measures
from schemas.errors import ArchiveError

COUNT = len(Measures._fields)


def clips(shift: float, seed: int = 0) -> list[Regions]:
    """Three clips; in defects, the first measure is larger by ``shift`` deviations."""
    rng = np.random.default_rng(seed)
    found = []
    for size in (200, 300, 400):
        defect = rng.random(size) < 0.3
        measures = rng.normal(size=(size, COUNT))
        measures[:, 0] += shift * defect
        found.append(Regions(measures, defect))
    return found


def test_the_measure_that_separates_gets_the_weight() -> None:
    found = fit(clips(3.0))
    assert found.weights[0] > 0.5
    assert max(map(abs, found.weights[1:])) < 0.25 * found.weights[0]
    assert found.regions == 900 and 200 < found.defects < 340


def test_nothing_separates_noise() -> None:
    assert max(map(abs, fit(clips(0.0)).weights)) < 0.2


def test_the_sign_follows() -> None:
    assert fit(clips(-3.0)).weights[0] < -0.5


def test_one_kind_alone_is_refused() -> None:
    with pytest.raises(ArchiveError, match="give more clips"):
        fit([Regions(np.zeros((5, COUNT)), np.ones(5, bool))])


def test_the_shipped_constants_have_one_value_a_measure() -> None:
    assert len(MEANS) == len(DEVIATIONS) == len(WEIGHTS) == COUNT
    assert min(DEVIATIONS) > 0 and BIAS < 0
