"""What a piece of work took: seconds of the clock, and of processors."""

from __future__ import annotations

import os
import time
from typing import NamedTuple


class Usage(NamedTuple):
    """Readings of the clock and of this process's processor time, its ended children included."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Usage:
        return cls(time.monotonic(), sum(os.times()[:4]))

    def spent(self) -> Usage:
        """The seconds since this reading."""
        now = Usage.now()
        return Usage(now.clock - self.clock, now.cpu - self.cpu)
