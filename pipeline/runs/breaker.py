"""The circuit breaker: if many clips in a row fail with one reason, the fault is in the system.

Only reasons of the classes `system` and `transient` count (`schemas/reasons.py`). Broken files may
come in any number.
"""

from __future__ import annotations

from pipeline.clip.result import ClipResult
from schemas.reasons import REASONS, Reason

IN_A_ROW = 10


class Breaker:
    """Counts clips in a row that fail with one reason, in the order in which they end."""

    def __init__(self, limit: int = IN_A_ROW) -> None:
        self.limit = limit
        self.clips: list[str] = []  # failed with the same reason, one after the other
        self._reason: Reason | None = None
        self._sentence = ""

    @property
    def tripped(self) -> bool:
        """Whether the limit was reached. It does not reset."""
        return len(self.clips) >= self.limit

    @property
    def sentence(self) -> str:
        """Why the breaker has tripped."""
        return (
            f"{self.limit} clips in a row failed with {self._reason}. The run starts no new work. "
            f"The last fault: {self._sentence}"
        )

    def saw(self, result: ClipResult) -> bool:
        """Note a clip's end. True for the one clip that trips the breaker."""
        clip, reason = result.clip_id, result.reason
        systematic = reason is not None and REASONS[reason].kind != "clip"
        if self.tripped:
            if reason is self._reason:
                self.clips.append(clip)
            return False
        if not systematic or reason is not self._reason:
            self.clips = []
        if systematic:
            self._reason, self._sentence = reason, result.sentence
            self.clips.append(clip)
        return self.tripped
