"""How far a shard is while it is restored, for `status`. Nothing depends on it."""

from __future__ import annotations

import time

from pipeline.runs.ledger import Ledger
from pipeline.runs.row import dump, load
from pipeline.store import layout
from pipeline.store.storage import DIRECT
from schemas.errors import ClipFault

PAUSE_SECONDS = 10.0  # between two writes: a short shard costs none


class ShardProgress:
    """Writes the number of restored frames of a shard, at most once every few seconds.

    A fault of the store ends the reports, not the work.
    """

    def __init__(self, ledger: Ledger, clip: str, shard: int, pause: float | None = None) -> None:
        self._facts = {"clip_id": clip, "shard": shard, "session": ledger.session}
        self._uri = layout.shard_progress(ledger.uri, clip, shard)
        self._pause = PAUSE_SECONDS if pause is None else pause
        self._next = time.monotonic() + self._pause

    def __call__(self, frames: int) -> None:
        """Say that so many frames are restored."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._pause
        try:
            DIRECT.write_bytes(self._uri, dump({**self._facts, "frames": frames}))
        except ClipFault:
            self._pause = self._next = float("inf")


def frames_restored(ledger: Ledger) -> dict[tuple[str, int], int]:
    """Frames by clip and shard that the workers of this session reported last."""
    read = ledger.store.read_many(ledger.store.listing(layout.progress(ledger.uri)))
    facts = [load(data) for data in read.values()]
    return {
        (str(f["clip_id"]), int(str(f["shard"]))): int(str(f["frames"]))
        for f in facts
        if f["session"] == ledger.session
    }
