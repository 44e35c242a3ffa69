"""Shared options: the deadline of --until."""

from datetime import UTC, datetime

import pytest

from jobs.console.options import deadline
from schemas.errors import ArchiveError


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("23:30", datetime(2026, 11, 22, 23, 30)),
        ("6:00", datetime(2026, 11, 23, 6)),
        ("22:00", datetime(2026, 11, 23, 22)),  # now: the next time
        ("2026-11-24T06:00", datetime(2026, 11, 24, 6)),
        ("2026-11-24T06:00+00:00", datetime(2026, 11, 24, 6, tzinfo=UTC)),
    ],
)
def test_until_is_the_next_time_of_the_clock_or_a_moment(text: str, end: datetime) -> None:
    assert deadline(text, now=datetime(2026, 11, 22, 22)) == end.astimezone()


@pytest.mark.parametrize("text", ["tonight", "24:00", "6:60", "2026-11-21T06:00", ""])
def test_until_is_never_a_guess(text: str) -> None:
    with pytest.raises(ArchiveError, match=f"--until {text}"):
        deadline(text, now=datetime(2026, 11, 22, 22))
