"""How the work on a clip ends: with what it makes, or with a row that says why not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.tasks import ClipEnded, ClipLeft
from pipeline.media.sandbox import KilledFromOutside
from pipeline.runs.results import failed
from pipeline.runs.settings import Settings
from pipeline.store import cache
from pipeline.store.local import is_full
from pipeline.store.retry import with_retries
from schemas.errors import ClipFault
from schemas.reasons import Reason

T = TypeVar("T")
log = logging.getLogger(__name__)


def guarded(clip: Clip, settings: Settings, work: Callable[[], T]) -> T | ClipEnded | ClipLeft:
    """The result of ``work``, with retries; if it fails, the clip's end with a reason code.

    Raises nothing, so no clip is lost. If a decoder was killed from outside, as the system does for
    want of memory, the work is done once more.
    """

    def again() -> T:
        try:
            return work()
        except KilledFromOutside as killed:
            log.warning("clip %s: %s; trying once more", clip.clip_id, killed)
            return work()

    try:
        return with_retries(lambda: _disk_full_as_fault(again), settings.store.retry)
    except ClipFault as expected:
        fault = expected
    except Exception as error:  # a defect in this program costs one clip, not the run
        log.exception("clip %s", clip.clip_id)
        fault = ClipFault(Reason.INTERNAL, f"{type(error).__name__}: {error}")
    if fault.retried:  # the store has already failed for the whole retry time
        settings = settings.without_retries()
    try:
        return ended(failed(clip, fault, settings), settings)
    except ClipFault as unwritten:  # the next session tries the clip again
        log.error("clip %s ended with %s, but %s", clip.clip_id, fault, unwritten)
        return ClipLeft(clip.clip_id, Reason.SYSTEM_STOP, str(unwritten))


def ended(result: ClipResult, settings: Settings) -> ClipEnded:
    """Commit a clip's result and free the copy of its source. The first result counts."""
    committed = settings.ledger.commit_clip(result)
    cache.discard(str(result.columns["source_uri"]), Path(settings.cache))
    return ClipEnded(result.clip_id, committed)


def _disk_full_as_fault(work: Callable[[], T]) -> T:
    """The result of ``work``. Raises ClipFault(DISK_FULL) for any OSError of a full disk."""
    try:
        return work()
    except OSError as error:
        if not is_full(error):
            raise
        where = error.filename or tempfile.gettempdir()
        raise ClipFault(Reason.DISK_FULL, f"{where}: {error.strerror}") from error
