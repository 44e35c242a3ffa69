"""Waiting out trouble that passes by itself: a throttled or restarting store, a full disk.

How long is waited, from the first failure on, stands in ARCHIVE_RESTORE_PATIENCE, in seconds. Runs
set it for themselves and their workers; without it a command says at once what is wrong.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from schemas.errors import ClipFault

VARIABLE = "ARCHIVE_RESTORE_PATIENCE"
RUN_SECONDS = "300"  # of a run where the environment says nothing else
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 20.0
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)
_random = random.Random()  # of its own in each process: workers that wait must not wait in step


@contextmanager
def of_a_run() -> Iterator[None]:
    """What this process does meanwhile is patient."""
    before = os.environ.get(VARIABLE)
    _patience.worn_out = False
    os.environ.setdefault(VARIABLE, RUN_SECONDS)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)


class _Patience:
    """What this process has left: once a wait was in vain, none before something has succeeded."""

    worn_out = False

    def seconds(self) -> float:
        return 0.0 if self.worn_out else float(os.environ.get(VARIABLE, "0"))


_patience = _Patience()


def outlast(work: Callable[[], T]) -> T:
    """The result of ``work``, tried again while it meets transient faults. Raises ClipFault.

    ``work`` must be safe to repeat. A fault of any other class, or one that an inner call has
    already waited for, is raised at once.
    """
    until: float | None = None
    for pause in pauses():
        try:
            result = work()
        except ClipFault as fault:
            if not fault.transient or fault.waited_out:
                raise
            now = time.monotonic()
            until = now + _patience.seconds() if until is None else until
            if now + pause > until:
                fault.waited_out = True
                _patience.worn_out = True
                raise
            log.warning("%s; trying again in %.1f s", fault, pause)
            time.sleep(pause)
        else:
            _patience.worn_out = False
            return result
    raise AssertionError("unreachable")


def patient(work: Callable[P, T]) -> Callable[P, T]:
    """A function that outlasts transient faults."""

    @functools.wraps(work)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        return outlast(lambda: work(*args, **kwargs))

    return waiting


def pauses() -> Iterator[float]:
    """Pauses in seconds without end: twice as long each time, up to a limit, and never in step."""
    longest = FIRST_PAUSE
    while True:
        yield _random.uniform(longest / 2, longest)
        longest = min(2 * longest, LONGEST_PAUSE)
