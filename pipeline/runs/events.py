"""The events of a run: one small value for each step, for progress displays and log lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

EventKind = Literal["run", "survey", "shard", "clip", "note", "warning", "log"]
_LEVELS = {"failed": "error", "quarantined": "warning", "held": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. ``run`` opens a run; ``survey``, ``shard`` and ``clip`` report progress.

    ``done`` and ``total`` count the clips of the whole run. ``frames`` and ``measures`` belong to
    the surveyed clip, the restored shard or the ended clip. ``note`` is a sentence for people,
    ``warning`` a warning of the manifest, and ``log`` a line that a library wrote.
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
        """The log level: info, warning or error."""
        return "warning" if self.kind in ("warning", "log") else _LEVELS.get(self.state, "info")

    def to_dict(self) -> dict[str, object]:
        """The fields with a value, for a log line. Shard 0 counts as a value."""
        values = asdict(self).items()
        return {name: value for name, value in values if value or (name, value) == ("shard", 0)}
