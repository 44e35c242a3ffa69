"""Deadlines on what has none: an answer that trickles, a disk that hangs.

A socket's timeout begins again at each byte, and a read of a network's disk may block for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

START_SECONDS = 60.0
SLOWEST = 32 * 1024  # bytes per second of one answer; a transfer reads several at once
_STEP_BYTES = 64 * 1024
T = TypeVar("T")


class TooSlow(Exception):
    """An answer came more slowly than `SLOWEST`, or not at all."""


class Deadline:
    """The time by which `size` bytes have to be read."""

    def __init__(self, size: int) -> None:
        self.seconds = START_SECONDS + size / SLOWEST
        self._until = time.monotonic() + self.seconds

    def check(self) -> None:
        """Raises TooSlow after the deadline."""
        if time.monotonic() > self._until:
            raise TooSlow(f"the store sent less than it should in {self.seconds:.0f} s")


class Timely:
    """The raw stream of an answer of `size` bytes. Reading raises TooSlow after its deadline."""

    def __init__(self, raw: Any, size: int) -> None:  # noqa: ANN401 - of urllib3
        self._raw, self._deadline = raw, Deadline(size)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._raw, name)

    def read(self, amount: int | None = None) -> bytes:
        """Read so many bytes, or all. Fewer only at the end."""
        chunks, left = [], amount
        while left is None or left > 0:
            self._deadline.check()
            step = _STEP_BYTES if left is None else min(left, _STEP_BYTES)
            chunk = self._raw.read1(step)  # what has arrived
            if not chunk:
                break
            chunks.append(chunk)
            left = None if left is None else left - len(chunk)
        return b"".join(chunks)

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer. Fewer bytes only at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of ``work``, which a thread of its own does. Raises what it raises.

    Raises TooSlow if it has not ended after so many seconds. Nothing can end it: it is left behind,
    and ends with its call or with this process.
    """
    line: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            line.put((work(), None))
        except BaseException as error:
            line.put((None, error))

    threading.Thread(target=run, name="within a deadline", daemon=True).start()
    try:
        result, error = line.get(timeout=seconds)
    except queue.Empty:
        raise TooSlow(f"no answer for {seconds:.0f} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
