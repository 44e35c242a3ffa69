"""Seconds that work takes, by the clock and of processor time."""

from __future__ import annotations

import os
import time
from typing import NamedTuple


class Usage(NamedTuple):
    """Seconds by the clock, and of processor time of this process and its ended children."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Usage:
        """A reading of both clocks."""
        return cls(time.monotonic(), sum(os.times()[:4]))

    def spent(self) -> Usage:
        """The seconds since this reading."""
        now = Usage.now()
        return Usage(now.clock - self.clock, now.cpu - self.cpu)
