"""Captured output: what libraries print during a run becomes events of the run's log.

A program that reads the log must find JSON on every line. Lines come from our code, from a
library's `print` or warning, and from native code that writes to the descriptor of stderr.
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

STDERR = 2  # file descriptor

Report = Callable[[Event], None]


@contextlib.contextmanager
def captured_output(make: Callable[[TextIO], Report]) -> Iterator[Report]:
    """Yield the report that ``make`` builds on the true stderr.

    Inside the block, every line written to stdout or stderr becomes a ``log`` event of that report.
    """
    with _true_stderr() as stream:
        report = make(stream)
        lines = CapturedLines(report)
        with (
            _descriptor(lines),
            contextlib.redirect_stdout(lines),
            contextlib.redirect_stderr(lines),
        ):
            yield report
            lines.write("\n")


class CapturedLines(io.TextIOBase):
    """A text stream that reports each whole line as a ``log`` event. Any thread may write."""

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
        """Do nothing: a line is reported when it is whole."""


@contextlib.contextmanager
def _true_stderr() -> Iterator[TextIO]:
    """Yield the stream of the log: a copy of stderr's descriptor, or the stream if it has none."""
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
def _descriptor(lines: CapturedLines) -> Iterator[None]:
    """Capture what native code and child processes write to the descriptor of stderr.

    A child may outlive the block and keep the pipe open. So a marker line ends the reading.
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


def _read(readable: int, lines: CapturedLines, end: str) -> None:
    """Pass on every whole line up to the marker line."""
    with open(readable, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line == end:
                return
            lines.write(line if line.endswith("\n") else line + "\n")
