"""Overlapped stages: a thread makes items ahead, and the time of each stage is added up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from models.network.memory import Rung

T = TypeVar("T")

STAGES = ("decode", "wait", "model", "encode")  # wait: of the model for decoded frames


@dataclass
class Tally:
    """Seconds a shard spent in each stage, and sums of what the model reported."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    pictures: int = 0  # frames or fields
    source_share: float = 0.0
    defect_share: float = 0.0
    gains: list[float] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)  # of the out-of-memory ladder, where it went


def timed(items: Iterable[T], tally: Tally, stage: str) -> Iterator[T]:
    """The items, with the time spent on making them added to a stage."""
    iterator = iter(items)
    while True:
        started = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            tally.seconds[stage] += time.perf_counter() - started
        yield item


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """The items, made by a thread at most ``depth`` ahead; its exception is raised here."""
    maker = _Ahead(items, depth)
    try:
        while (entry := maker.line.get()) is not maker:
            yield entry
        if maker.error is not None:
            raise maker.error
    finally:
        maker.stop()


class _Ahead(threading.Thread):
    """Makes items into a bounded queue; the thread itself in the queue marks the end."""

    def __init__(self, items: Iterable[Any], depth: int) -> None:
        super().__init__(daemon=True)
        self.items = items
        self.error: BaseException | None = None
        self.line: queue.Queue[Any] = queue.Queue(depth)
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            for item in self.items:
                if not self._put(item):
                    break
        except BaseException as error:  # handed over whole: the consumer raises it
            self.error = error
        if isinstance(self.items, Generator):
            self.items.close()
        self._put(self)

    def _put(self, entry: object) -> bool:
        while not self._stopped.is_set():
            try:
                self.line.put(entry, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=5)
