"""Damage of any kind costs one clip: every mutated file ends as decoded or with a reason code."""

import os
from collections import Counter

import psutil
import pytest

from schemas.reasons import REASONS, Reason
from tests.support.media.fuzz import LIMITS, SEEDS, fuzz

EVERY = os.environ.get("TEST_FAULTS") == "1"
COUNT = 2000 if EVERY else 3 * len(SEEDS)
PARENT_MIB = 200  # what the parent may grow by, whatever it is sent


@pytest.mark.timeout(3600 if EVERY else 300)
def test_every_mutated_file_is_accounted_for() -> None:
    before = psutil.Process().memory_info().rss
    outcomes = fuzz(COUNT)
    assert len(outcomes) == COUNT
    ends = Counter(outcome.end for outcome in outcomes)
    assert set(ends) <= {"decoded", *map(str, REASONS)}
    assert ends["INTERNAL"] == 0, [o for o in outcomes if o.end == Reason.INTERNAL]
    assert ends["decoded"] < COUNT / 2 and len(ends) >= 4  # mutations that matter
    assert max(outcome.seconds for outcome in outcomes) < LIMITS.wall_seconds
    assert max(outcome.peak_mib for outcome in outcomes) < LIMITS.address_space_mb
    assert psutil.Process().memory_info().rss - before < PARENT_MIB << 20
