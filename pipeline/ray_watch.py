"""The central processes of an embedded Ray, watched from the driver.

If one of them dies, Ray ends the driver without a word: some 15 s after its raylet, 60 s after its
gcs_server. The watch ends the run before. So the run says why, and gives its lease back.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

T = TypeVar("T")
LOOK_SECONDS = 0.5  # between two looks at the processes
ROWS_AHEAD = 16  # that wait for the driver
NAMES = {"gcs_server": "Ray's control process", "raylet": "Ray's node process"}


class RayLost(ArchiveError):
    """A central process of Ray has died. Only committed work counts."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the run was aborted: {why}. Finished work is kept. Start the command again to "
            "continue.",
            exit_code=ExitCode.FAILED,
        )


class Watch:
    """Looks at processes while their rows are read. A cluster of others has none to look at."""

    def __init__(self, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def dead(self) -> str:
        """The process that has died, in words; empty while all of them run."""
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                end = f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended"
                return f"{NAMES[name]} ({name}, process {process.pid}) {end}"
        return ""

    def look(self) -> None:
        """Raises RayLost if a process has died."""
        if why := self.dead():
            raise RayLost(why)

    def rows(self, make: Callable[[], Iterable[T]]) -> Iterator[T]:
        """Yield what ``make`` yields in a thread of its own, because Ray may block for ever there.

        Raises its errors, and RayLost if a process dies.
        """
        line: queue.Queue[tuple[T] | Exception | None] = queue.Queue(ROWS_AHEAD)
        over = threading.Event()
        reader = threading.Thread(
            target=_read, args=(make, line, over), name="rows of Ray", daemon=True
        )
        reader.start()
        try:
            while (entry := self._next(line)) is not None:
                if isinstance(entry, Exception):
                    self.look()
                    raise entry
                yield entry[0]
        finally:
            over.set()

    def _next(self, line: queue.Queue[T]) -> T:
        while True:
            self.look()
            try:
                return line.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue


def _read(
    make: Callable[[], Iterable[T]],
    line: queue.Queue[tuple[T] | Exception | None],
    over: threading.Event,
) -> None:
    """Put every row into the line; at the end None or the error."""

    def put(entry: tuple[T] | Exception | None) -> None:
        while not over.is_set():
            try:
                return line.put(entry, timeout=LOOK_SECONDS)
            except queue.Full:
                continue
        return None

    try:
        for row in make():
            put((row,))
            if over.is_set():
                return
        put(None)
    except Exception as error:
        put(error)
