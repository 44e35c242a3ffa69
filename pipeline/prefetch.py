"""Overlapped stages: a thread makes items ahead, and the seconds of each stage are added up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from models.frame_state import FrameState, Rung

T = TypeVar("T")

GPU_FRAMES = 2  # restored frames that may wait for their evidence

STAGES = ("decode", "wait", "model", "encode")  # wait: the model waits for decoded frames


@dataclass
class Tally:
    """The seconds of a shard in each stage, and sums of the model's figures."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    pictures: int = 0  # frames or fields
    source_share: float = 0.0
    defect_share: float = 0.0
    gains: list[float] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)  # of the out-of-memory ladder, as used


def timed(items: Iterable[T], tally: Tally, stage: str) -> Iterator[T]:
    """Yield the items. Add the time of making them to a stage."""
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


def ahead(items: Iterable[T], depth: int) -> Generator[T]:
    """Yield the items, which a thread makes up to ``depth`` ahead. Raises the thread's error.

    Closing the generator stops the thread.
    """
    maker = _Ahead(items, depth)
    try:
        while entry := maker.line.get():
            yield entry[0]
        if maker.error is not None:
            raise maker.error
    finally:
        maker.stop()


def beside_gpu(stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
    """The frames of a stage of `models.restorer`; those before the evidence are made in a thread.

    So the GPU is given work while the CPU judges earlier frames.
    """
    return ahead(frames, GPU_FRAMES) if stage == "network" else frames


class _Ahead(threading.Thread, Generic[T]):
    """Puts items, each in a tuple, into a bounded queue. An empty tuple marks the end."""

    def __init__(self, items: Iterable[T], depth: int) -> None:
        super().__init__(daemon=True)
        self.items = items
        self.error: BaseException | None = None
        self.line: queue.Queue[tuple[T] | tuple[()]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            for item in self.items:
                if not self._put((item,)):
                    break
        except BaseException as error:  # the consumer raises it
            self.error = error
        if isinstance(self.items, Generator):
            self.items.close()
        self._put(())

    def _put(self, entry: tuple[T] | tuple[()]) -> bool:
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
