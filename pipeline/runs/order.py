"""The order in which a run takes up clips, and the embargo.

Higher priority goes first. Among clips of equal priority, collections take turns, so a small
collection does not wait for a large one. Within a collection the order is that of the manifest.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime

from pipeline.clip.clip import Clip
from schemas.errors import ClipFault
from schemas.reasons import Reason


def in_order(clips: Iterable[Clip]) -> list[Clip]:
    """The clips in the order in which a run starts them."""
    turns: Counter[tuple[int, str]] = Counter()
    keyed = []
    for position, clip in enumerate(clips):
        group = -clip.priority, clip.collection or ""
        keyed.append((group[0], turns[group], position, clip))
        turns[group] += 1
    return [clip for *_, clip in sorted(keyed, key=lambda entry: entry[:3])]


def embargo(clip: Clip, today: date | None = None) -> ClipFault | None:
    """The fault of a clip under embargo, else None. `embargo_until` (UTC) is the last such day."""
    until = clip.embargo_until
    if until is None or date.fromisoformat(until) < (today or datetime.now(UTC).date()):
        return None
    return ClipFault(Reason.EMBARGOED, f"the manifest holds the clip until {until}")
