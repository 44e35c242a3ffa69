"""Retries of work after transient faults: a throttled or restarting store, a full disk.

A run passes the policy `NIGHTLY`. A command that a person waits for passes `NO_RETRIES`, so it
reports the fault at once.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from schemas.errors import ArchiveError, ClipFault

VARIABLE = "ARCHIVE_RESTORE_RETRY_SECONDS"
NIGHTLY_SECONDS = 300.0
T = TypeVar("T")
log = logging.getLogger(__name__)
_random = random.Random()  # seeded in each process, so that workers do not retry at the same moment


@dataclass(frozen=True)
class RetryPolicy:
    """How long work is retried after its first transient fault, and the pauses between tries."""

    seconds: float = 0.0
    first_pause: float = 0.5  # seconds
    longest_pause: float = 20.0  # seconds

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The policy of a run: ARCHIVE_RESTORE_RETRY_SECONDS, by default 300 seconds.

        Raises ArchiveError if the value is not a number of seconds.
        """
        text = environment.get(VARIABLE, str(NIGHTLY_SECONDS))
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise ArchiveError(f"{VARIABLE} is {text!r}: give a number of seconds, 0 or more")
        return cls(seconds)

    def pauses(self) -> Iterator[float]:
        """Yield pauses in seconds, without end. Their limit doubles, up to `longest_pause`.

        Each pause is random, between half of the limit and the limit.
        """
        longest = self.first_pause
        while True:
            yield _random.uniform(longest / 2, longest)
            longest = min(2 * longest, self.longest_pause)


NO_RETRIES = RetryPolicy()
NIGHTLY = RetryPolicy(NIGHTLY_SECONDS)


def with_retries(work: Callable[[], T], policy: RetryPolicy) -> T:
    """The result of ``work``, retried while its fault is transient. Raises ClipFault.

    ``work`` must be safe to repeat. A permanent fault is raised at once, and also a fault that an
    inner call has already retried (`ClipFault.retried`).
    """
    until: float | None = None
    for pause in policy.pauses():
        try:
            return work()
        except ClipFault as fault:
            if not fault.transient or fault.retried:
                raise
            now = time.monotonic()
            until = now + policy.seconds if until is None else until
            if now + pause > until:
                fault.retried = policy.seconds > 0
                raise
            log.warning("%s; trying again in %.1f s", fault, pause)
            time.sleep(pause)
    raise AssertionError("pauses have no end")
