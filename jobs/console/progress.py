"""How a run shows its progress: plain lines, a live bar on a terminal, or JSON lines."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from jobs.console.captured import Report, captured_output
from jobs.console.output import cell, clock, json_line
from schemas.reasons import MADE

if TYPE_CHECKING:
    from rich.progress import Progress

    from pipeline.runs.events import Event

HEARTBEAT_SECONDS = 15.0
STEP_SECONDS = 2.0  # between two lines of a command that is not a run
WITH_A_LINE = (
    "run",
    "clip",
    "note",
    "warning",
    "log",
)  # kinds of events that get a line


@dataclass
class ProgressCount:
    """Clips and frames of one run, counted from its events."""

    total: int = 0
    done: int = 0
    sizes: dict[str, int] = field(default_factory=dict)  # frames to restore, of each known clip
    frames: dict[str, int] = field(default_factory=dict)  # restored frames of each clip
    started: float = field(default_factory=time.monotonic)

    def add(self, event: Event) -> None:
        self.total = event.total or self.total
        self.done = max(self.done, event.done)
        clip = event.clip_id
        if event.kind == "run":  # earlier sessions say nothing about the speed of this one
            self.frames.clear()
            self.sizes.clear()
            self.started = time.monotonic()
        elif event.kind == "survey":
            self.sizes[clip] = event.frames
        elif event.kind == "shard":
            self.frames[clip] = self.frames.get(clip, 0) + event.frames
        elif event.kind == "clip":  # the last shard of a clip has no event of its own
            if event.state in MADE:
                self.frames[clip] = event.frames
            self.sizes[clip] = self.frames.get(clip, 0)

    @property
    def restored(self) -> int:
        return sum(self.frames.values())

    @property
    def expected(self) -> int:
        """Frames of the whole run. Clips of unknown size count with the mean size."""
        sizes = [size for size in self.sizes.values() if size]
        mean = sum(sizes) / max(1, len(sizes))
        at_work = [max(n, mean) for clip, n in self.frames.items() if clip not in self.sizes]
        waiting = max(0, self.total - max(self.done, len(self.sizes)) - len(at_work))
        return round(sum(sizes) + sum(at_work) + waiting * mean)

    @property
    def rate(self) -> float:
        """Restored frames per second since the start."""
        return self.restored / max(1e-6, time.monotonic() - self.started)

    @property
    def remaining_seconds(self) -> float | None:
        """The time left at the rate so far; None while nothing is restored."""
        if self.restored == 0:
            return None
        return max(0, self.expected - self.restored) / self.rate

    def sentence(self) -> str:
        left = self.remaining_seconds
        about = "" if left is None else f", about {clock(left)} left"
        frames = f"{self.restored} of {self.expected} frames" if self.expected else "no frames yet"
        return f"{self.done} of {self.total} clips, {frames}, {self.rate:.1f} frames/s{about}"


class PlainProgress:
    """Progress as plain lines: one for each ended clip, and a heartbeat in between."""

    def __init__(self, stream: TextIO | None = None, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._count = ProgressCount()
        self._heartbeat = heartbeat
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        self._count.add(event)
        if _has_line(event):
            self._line(describe(event))
        elif time.monotonic() - self._last >= self._heartbeat:
            self._line(self._count.sentence())

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._last = time.monotonic()


class StepLines:
    """Progress of a command that is not a run: lines on stderr.

    `begin` prints a line at once. A call prints one only if the last is some seconds old.
    """

    def __init__(
        self, as_json: bool = False, stream: TextIO | None = None, pause: float = STEP_SECONDS
    ) -> None:
        self._as_json, self._stream, self._pause = as_json, stream or sys.stderr, pause
        self._last = -math.inf

    def __call__(self, sentence: str) -> None:
        if time.monotonic() - self._last >= self._pause:
            self.begin(sentence)

    def begin(self, sentence: str) -> None:
        text = cell(sentence)
        line = json_line(level="info", kind="note", sentence=text) if self._as_json else text
        print(line, file=self._stream, flush=True)
        self._last = time.monotonic()


class JsonProgress:
    """Progress for programs: every event as one JSON line, with the id of its run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._run = ""

    def __call__(self, event: Event) -> None:
        self._run = event.run or self._run
        facts = {"level": event.level, "run": self._run, **event.to_dict()}
        self._stream.write(json_line(**facts) + "\n")  # one write: other threads may report too
        self._stream.flush()


class BarProgress:
    """Live progress on a terminal: clips, frames per second, time left; ended clips scroll by."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count = ProgressCount()
        self._task = progress.add_task("clips", total=None, detail="")

    def __call__(self, event: Event) -> None:
        self._count.add(event)
        count, left = self._count, self._count.remaining_seconds
        detail = f"{count.restored} frames, {count.rate:.1f} frames/s"
        self._progress.update(
            self._task,
            completed=count.restored if count.expected else count.done,
            total=count.expected or count.total or None,
            description=f"{count.done}/{count.total} clips",
            detail=detail + ("" if left is None else f", {clock(left)} left"),
        )
        if _has_line(event):
            self._progress.console.print(describe(event), markup=False, highlight=False)


def _has_line(event: Event) -> bool:
    return event.kind in WITH_A_LINE and bool(event.clip_id or event.sentence)


def describe(event: Event) -> str:
    """Return an ended clip, or a note, on one line."""
    if event.kind == "warning":
        return cell(f"warning: {event.sentence}")
    if event.kind != "clip":
        return cell(f"{event.clip_id}: {event.sentence}" if event.clip_id else event.sentence)
    count = f"[{event.done}/{event.total}] " if event.total else ""
    why = f"  {event.reason}: {event.sentence}" if event.reason else ""
    size = f"  {event.frames} frames" if event.frames else ""
    took = f"  {clock(event.seconds)}" if event.seconds else ""
    return cell(f"{count}{event.state:<11} {event.clip_id}{size}{took}{why}")


@contextlib.contextmanager
def progress(as_json: bool) -> Iterator[Report]:
    """Yield the place a run reports to: JSON lines, a live bar on a terminal, else plain lines."""
    if as_json:
        with captured_output(JsonProgress) as report:
            yield report
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _rich_bar() as bar:
            yield BarProgress(bar)
    else:
        yield PlainProgress()


def _rich_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
