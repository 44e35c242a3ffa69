"""Which clips a run takes up, and in which order.

Higher priority goes first. Among equals collections take turns, so that a large one does not make a
small one wait, and within a collection the order is that of the manifest: what was listed first has
waited longest.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from schemas.errors import ClipFault
from schemas.reasons import Reason

Row = dict[str, Any]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows of the manifest in the order in which a run begins with them."""
    turns: Counter[tuple[int, str]] = Counter()
    keyed = []
    for position, row in enumerate(rows):
        group = -int(row.get("priority") or 0), str(row.get("collection") or "")
        keyed.append((group[0], turns[group], position, row))
        turns[group] += 1
    return [row for *_, row in sorted(keyed, key=lambda entry: entry[:3])]


def embargo(row: Mapping[str, Any], today: date | None = None) -> ClipFault | None:
    """Why a clip is held until a date, None if it is free: that day (UTC) is the last it waits."""
    until = row.get("embargo_until")
    if until is None or date.fromisoformat(str(until)) < (today or datetime.now(UTC).date()):
        return None
    return ClipFault(Reason.EMBARGOED, f"the manifest holds the clip until {until}")
