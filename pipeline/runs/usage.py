"""Seconds that work takes, by the clock and of processor time."""

from __future__ import annotations

import time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import NamedTuple

from pipeline.media.launcher import ENDED


class Usage(NamedTuple):
    """Seconds by the clock, and of processor time of this process and its ended children."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Usage:
        """A reading of both clocks."""
        found = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in found)
        return cls(time.monotonic(), cpu + ENDED.cpu_seconds)

    def spent(self) -> Usage:
        """The seconds since this reading."""
        now = Usage.now()
        return Usage(now.clock - self.clock, now.cpu - self.cpu)
