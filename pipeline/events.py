"""What a run tells the outside while it works: one small value per thing that happened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

EventKind = Literal["run", "survey", "shard", "clip", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``run`` opens a run, with its id and totals; ``shard`` and ``clip`` report progress.

    ``done`` and ``total`` count clips of the whole run; ``frames`` belongs to this event alone:
    the frames of the surveyed clip, of the restored shard, of the finished clip.
    """

    kind: EventKind
    run: str = ""
    clip_id: str = ""
    shard: int | None = None
    frames: int = 0
    state: str = ""
    reason: str = ""
    sentence: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """The fields that say something, for a log line."""
        values = asdict(self).items()
        return {name: value for name, value in values if value or (name, value) == ("shard", 0)}
