"""Stores of sources that failed for a whole retry time: the next clips do not wait for them again.

A mark in the cache of the node names such a store, so all workers of the node know of it. While the
mark is fresh, work on the store is tried once. The first success removes it. A store that gave
another source meanwhile has not failed: the fault is that of one object.
"""

from __future__ import annotations

import hashlib
import math
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
    name = hashlib.sha256(_store(uri).encode()).hexdigest()[:24]
    mark, answer = cache / f"outage-{name}", cache / f"answer-{name}"
    known, begun = _age(mark) < FRESH_SECONDS, time.time()
    try:
        result = with_retries(work, NO_RETRIES if known else policy)
    except ClipFault as fault:
        if fault.reason in (Reason.STORE_ERROR, Reason.STORE_THROTTLED) and policy.seconds:
            if _age(answer) > time.time() - begun + 1.0:  # file systems' clocks are coarse
                _touch(mark)
            fault.retried = True
        raise
    mark.unlink(missing_ok=True)
    _touch(answer)
    return result


def _store(uri: str) -> str:
    """The bucket of an object, or the folder of a file."""
    return "/".join(uri.split("/")[:3]) if is_s3(uri) else os.path.dirname(uri)


def _touch(mark: Path) -> None:
    with as_clip_fault():
        make_private(mark.parent)
    mark.touch()


def _age(mark: Path) -> float:
    """Seconds since the mark was made; infinite without one."""
    try:
        return time.time() - mark.stat().st_mtime
    except OSError:
        return math.inf
