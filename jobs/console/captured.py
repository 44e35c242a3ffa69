"""What libraries write, on the streams of Python or below it, as events of a run's log.

A program that reads the log must find JSON on every line, whoever wrote it: our own code, a library
by `print` or a warning, or native code that writes to the descriptor of stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from pipeline.runs.events import Event

STDERR = 2

Report = Callable[[Event], None]


@contextlib.contextmanager
def foreign_lines(make: Callable[[TextIO], Report]) -> Iterator[Report]:
    """The report that ``make`` makes of the true stderr; while the block runs it is also told every
    line that others write to stdout or stderr.
    """
    with _true_stderr() as stream:
        report = make(stream)
        lines = Lines(report)
        with (
            _descriptor(lines),
            contextlib.redirect_stdout(lines),
            contextlib.redirect_stderr(lines),
        ):
            yield report
            lines.write("\n")


class Lines(io.TextIOBase):
    """A text stream whose whole lines become ``log`` events; any thread may write."""

    def __init__(self, report: Report) -> None:
        self._report, self._partial = report, ""
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._partial = (self._partial + text).replace("\r", "\n").split("\n")
            for line in filter(str.strip, whole):
                self._report(Event(kind="log", sentence=line.rstrip()))
        return len(text)

    def flush(self) -> None:
        """Nothing: a line is told when it is whole."""


@contextlib.contextmanager
def _true_stderr() -> Iterator[TextIO]:
    """Where the log goes: a copy of stderr's descriptor if there is one, else the stream."""
    if not _is_descriptor(sys.stderr):
        yield sys.stderr
        return
    with open(os.dup(STDERR), "w", encoding="utf-8", errors="replace", buffering=1) as stream:
        yield stream


def _is_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() == STDERR
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _descriptor(lines: Lines) -> Iterator[None]:
    """Read what is written to the descriptor of stderr, by native code and by child processes.

    Children may outlive the block with the pipe in their hands, so its end is marked by a line.
    """
    end, kept = f"{id(lines):x}-end\n", os.dup(STDERR)
    readable, writable = os.pipe()
    os.dup2(writable, STDERR)
    reader = threading.Thread(target=_read, args=(readable, lines, end), daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.write(writable, b"\n" + end.encode())
        os.close(writable)
        reader.join()
        os.close(kept)


def _read(readable: int, lines: Lines, end: str) -> None:
    """Pass on every whole line until the one that marks the end."""
    with open(readable, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line == end:
                return
            lines.write(line if line.endswith("\n") else line + "\n")
