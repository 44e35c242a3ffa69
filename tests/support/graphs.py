"""A graph as a CPU can have one: it runs its function again, into the same memory."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Recorder:
    """Records and replays as `models.graphs.record_on_gpu` does, and counts both."""

    def __init__(self) -> None:
        self.records = self.replays = 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.records += 1
        made = run()

        def replay() -> Tensor:
            self.replays += 1
            return made.copy_(run())

        return replay
