"""How far a training is, by its steps or by the clock, and what follows from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from models.training.config import TrainConfig

LEAST_WARM_UP = 0.02  # share of the time, by the clock
SPARE = 1.5  # validation and checkpoint may take this many times as long as they took before
FORGOTTEN = 0.9  # of the longest step, with every step


@dataclass(frozen=True)
class Pace:
    """What a step is made with."""

    rate: float  # learning rate
    bridge: float  # share of the samples that are bridge samples
    keep: float  # share of the averaged weights that stays


def pace(share: float, step: int, config: TrainConfig, least_warm_up: float = 0.0) -> Pace:
    """The pace at a ``share`` in [0, 1] of the training.

    The rate rises linearly in the warm-up, then falls as a cosine to ``lr_last``. The average of
    the weights has a warm-up by steps.
    """
    warm_up = max(config.warmup / config.steps, least_warm_up)
    if share < warm_up:
        rate = config.lr * share / warm_up
    else:
        progress = min((share - warm_up) / max(1 - warm_up, 1e-9), 1)
        fall = 0.5 * (1 + math.cos(math.pi * progress))
        rate = config.lr_last + (config.lr - config.lr_last) * fall
    bridge = config.bridge_share if share >= config.bridge_from else 0.0
    return Pace(rate, bridge, min(config.ema, (step + 1) / (step + 10)))


@dataclass
class Schedule:
    """A training of a number of steps or, with ``seconds``, of as many as fit into the time.

    By the clock it ends early enough for the last validation and checkpoint. A training that was
    broken off has ``used`` some of its seconds.
    """

    steps: int
    seconds: float | None = None
    now: Callable[[], float] = time.monotonic
    used: float = 0.0
    ending: float = 0.0  # seconds that validation and checkpoint took last
    _began: float = field(init=False, default=0.0)
    _longest: float = field(init=False, default=0.0)

    def begin(self) -> None:
        """Start the clock."""
        self._began = self.now()

    @property
    def elapsed(self) -> float:
        """Seconds that the training took so far, with those before it was broken off."""
        return self.used + self.now() - self._began

    def pace(self, step: int, config: TrainConfig) -> Pace:
        """The pace of a step."""
        if self.seconds is None:
            return pace((step + 1) / self.steps, step, config)
        return pace(min(self.elapsed / self._time(), 1), step, config, LEAST_WARM_UP)

    def over(self, step: int) -> bool:
        """Whether there is no step ``step``: all are made, or the time does not last for it."""
        if self.seconds is None:
            return step >= self.steps
        return self.elapsed + self._longest > self._time()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take the time of a step."""
        began = self.now()
        yield
        self._longest = max(FORGOTTEN * self._longest, self.now() - began)

    @contextmanager
    def end(self) -> Iterator[None]:
        """Take the time of validation and checkpoint."""
        began = self.now()
        yield
        self.ending = self.now() - began

    def _time(self) -> float:
        """Seconds for the steps."""
        assert self.seconds is not None
        return max(self.seconds - SPARE * self.ending, 1e-9)
