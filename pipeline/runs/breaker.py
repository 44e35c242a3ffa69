"""The circuit breaker: many clips in a row that fail alike speak of the system, not of the clips.

Only reasons count whose class speaks of the system (`schemas/reasons.py`): broken files may come in
any number.
"""

from __future__ import annotations

from pipeline.clip.result import ClipResult
from schemas.reasons import REASONS, Reason

IN_A_ROW = 10


class Breaker:
    """Watches how clips end, in the order in which they do."""

    def __init__(self, limit: int = IN_A_ROW) -> None:
        self.limit = limit
        self.clips: list[str] = []  # that failed alike, one after the other
        self._reason: Reason | None = None
        self._sentence = ""

    @property
    def tripped(self) -> bool:
        """Whether there were too many; it stays so."""
        return len(self.clips) >= self.limit

    @property
    def sentence(self) -> str:
        """What tripped it."""
        return (
            f"{self.limit} clips in a row failed with {self._reason}: nothing more was begun; "
            f"the last: {self._sentence}"
        )

    def saw(self, result: ClipResult) -> bool:
        """Note a clip's end; True for the one that trips the breaker."""
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
