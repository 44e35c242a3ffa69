"""Damage of any kind costs one clip: every mutated file ends as decoded or with a reason code."""

import os
from collections import Counter

import pytest

from schemas.reasons import REASONS, Reason
from tests.support.media.fuzz import LIMITS, SEEDS, fuzz

EVERY = os.environ.get("TEST_FAULTS") == "1"
COUNT = 10_000 if EVERY else 7 * len(SEEDS)
PARENT_MIB = 300  # of the process that reads the frames, whatever it is sent


@pytest.mark.timeout(3600 if EVERY else 300)
def test_every_mutated_file_is_accounted_for() -> None:
    outcomes = fuzz(COUNT)
    assert len(outcomes) == COUNT
    ends = Counter(outcome.end for outcome in outcomes)
    assert set(ends) <= {"decoded", *map(str, REASONS)}
    assert ends["INTERNAL"] == 0, [o for o in outcomes if o.end == Reason.INTERNAL]
    assert ends["decoded"] < COUNT / 2 and len(ends) >= 4  # mutations that matter
    assert max(outcome.seconds for outcome in outcomes) < LIMITS.wall_seconds
    assert max(outcome.peak_mib for outcome in outcomes) < LIMITS.address_space_mb
    assert max(outcome.parent_mib for outcome in outcomes) < PARENT_MIB
