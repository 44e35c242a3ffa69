"""Stores of sources that failed for a whole retry time: the next clips do not wait for them again.

A mark in the cache of the node names such a store, so all workers of the node know of it. While the
mark is fresh, work on the store is tried once. The first success removes it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.store.address import is_s3
from pipeline.store.private import as_clip_fault, make_private
from pipeline.store.retry import NO_RETRIES, RetryPolicy, with_retries
from schemas.errors import ClipFault
from schemas.reasons import Reason

FRESH_SECONDS = 600.0
T = TypeVar("T")


def patiently(work: Callable[[], T], uri: str, cache: Path, policy: RetryPolicy) -> T:
    """The result of ``work`` on a source, retried unless its store has just failed for long.

    Raises ClipFault. One of the store counts as retried.
    """
    mark = cache / f"outage-{hashlib.sha256(_store(uri).encode()).hexdigest()[:24]}"
    known = _fresh(mark)
    try:
        result = with_retries(work, NO_RETRIES if known else policy)
    except ClipFault as fault:
        if fault.reason in (Reason.STORE_ERROR, Reason.STORE_THROTTLED) and policy.seconds:
            with as_clip_fault():
                make_private(cache)
            mark.touch()
            fault.retried = True
        raise
    if known:
        mark.unlink(missing_ok=True)
    return result


def _store(uri: str) -> str:
    """The bucket of an object, or the folder of a file."""
    return "/".join(uri.split("/")[:3]) if is_s3(uri) else os.path.dirname(uri)


def _fresh(mark: Path) -> bool:
    try:
        return time.time() - mark.stat().st_mtime < FRESH_SECONDS
    except OSError:
        return False
