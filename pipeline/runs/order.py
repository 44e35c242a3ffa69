"""Which clips a run takes up, and in which order.

Higher priority goes first. Among equals collections take turns, so that a large one does not make a
small one wait, and within a collection the order is that of the manifest: what was listed first has
waited longest.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime

from pipeline.clip.clip import Clip
from schemas.errors import ClipFault
from schemas.reasons import Reason


def in_order(clips: Iterable[Clip]) -> list[Clip]:
    """Clips of the manifest in the order in which a run begins with them."""
    turns: Counter[tuple[int, str]] = Counter()
    keyed = []
    for position, clip in enumerate(clips):
        group = -clip.priority, clip.collection or ""
        keyed.append((group[0], turns[group], position, clip))
        turns[group] += 1
    return [clip for *_, clip in sorted(keyed, key=lambda entry: entry[:3])]


def embargo(clip: Clip, today: date | None = None) -> ClipFault | None:
    """The fault of a clip that is under embargo, else None. The named day (UTC) is the last."""
    until = clip.embargo_until
    if until is None or date.fromisoformat(until) < (today or datetime.now(UTC).date()):
        return None
    return ClipFault(Reason.EMBARGOED, f"the manifest holds the clip until {until}")
