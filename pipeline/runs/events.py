"""What a run tells the outside while it works: one small value per thing that happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

EventKind = Literal["run", "survey", "shard", "clip", "note", "warning", "log"]
_LEVELS = {"failed": "error", "quarantined": "warning", "held": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``run`` opens a run, with its id and totals; ``shard`` and ``clip`` report progress.

    ``done`` and ``total`` count clips of the whole run; ``frames`` and ``measures`` belong to this
    event alone: of the surveyed clip, of the restored shard, of the whole finished clip.
    ``warning`` is a warning of the manifest. ``log`` is a line that a library wrote.
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
    measures: Mapping[str, float] = field(default_factory=dict)  # see pipeline.runs.measures

    @property
    def level(self) -> str:
        """How much it asks for attention, in a logger's words."""
        return "warning" if self.kind in ("warning", "log") else _LEVELS.get(self.state, "info")

    def to_dict(self) -> dict[str, object]:
        """The fields that say something, for a log line."""
        values = asdict(self).items()
        return {name: value for name, value in values if value or (name, value) == ("shard", 0)}
