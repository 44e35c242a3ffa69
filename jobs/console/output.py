"""What a command prints: one result on stdout, everything else on stderr.

A person gets sentences and tables, a program gets JSON (`--json`): never both on one stream.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from jobs.console.captured import foreign_lines

if TYPE_CHECKING:
    from rich.progress import Progress

    from pipeline.runs.events import Event

HEARTBEAT_SECONDS = 15.0
SPOKEN = ("run", "clip", "note", "log")  # events that are a line of their own

Report = Callable[["Event"], None]


def emit(value: object) -> None:
    """One JSON value on one line of stdout; a number that is not finite is null."""
    print(as_json(value), flush=True)  # noqa: T201


def as_json(value: object) -> str:
    """JSON on one line; a number that is not finite is null."""
    return json.dumps(_finite(value), default=str, ensure_ascii=False, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_lines(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV with a header. A text that a spreadsheet would take for a formula gets an
    apostrophe before it, which shows it as text.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow([_inert(name) for name in rows[0]])
    writer.writerows([_inert(value) for value in row.values()] for row in rows)
    return stream.getvalue().rstrip("\n")


def _inert(value: object) -> object:
    text = isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{value}" if text or (isinstance(value, str) and value[:1] in ("\t", "\r")) else value


def say(text: str) -> None:
    """A line of the result, on stdout, for a person."""
    print(text, flush=True)  # noqa: T201


def log(text: str, as_json: bool = False) -> None:
    """A line that is not the result: on stderr; with JSON, an error as a line of the log."""
    line = json_line(level="error", kind="error", sentence=text) if as_json else text
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def json_line(**facts: object) -> str:
    """A line of the log for programs, with the time in UTC."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps(_finite({"time": now, **facts}), default=str, ensure_ascii=False)


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Rows in aligned columns, numbers to the right; plain text, nothing cut off."""
    if not rows:
        return "(no rows)"
    names = list(columns) or list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]

    def line(values: Sequence[str]) -> str:
        parts = zip(values, widths, numeric, strict=True)
        return "  ".join(v.rjust(w) if right else v.ljust(w) for v, w, right in parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(names), rule, *map(line, cells)])


def _cell(value: object) -> str:
    """Text of a table cell on one line; control characters of foreign names cannot reach it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(c if c.isprintable() else " " for c in str(value)).strip()


def clock(seconds: float) -> str:
    """A duration as people read it: ``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def grouped(number: float | None) -> str:
    """A whole number with thousands apart; nothing for none."""
    return "" if number is None else f"{int(number):,}".replace(",", "\u202f")


@dataclass
class Tally:
    """Counts that progress is told from; fed with the events of one run."""

    total: int = 0
    done: int = 0
    sizes: dict[str, int] = field(default_factory=dict)  # frames to restore, of each clip known
    frames: dict[str, int] = field(default_factory=dict)  # restored frames of each clip
    started: float = field(default_factory=time.monotonic)

    def add(self, event: Event) -> None:
        self.total = event.total or self.total
        self.done = max(self.done, event.done)
        clip = event.clip_id
        if event.kind == "run":  # what earlier sessions did says nothing about this one's speed
            self.frames.clear()
            self.sizes.clear()
            self.started = time.monotonic()
        elif event.kind == "survey":
            self.sizes[clip] = event.frames
        elif event.kind == "shard":
            self.frames[clip] = self.frames.get(clip, 0) + event.frames
        elif event.kind == "clip":  # its last shard has no event of its own
            if event.state == "published":
                self.frames[clip] = event.frames
            self.sizes[clip] = self.frames.get(clip, 0)

    @property
    def restored(self) -> int:
        return sum(self.frames.values())

    @property
    def expected(self) -> int:
        """Frames of the whole run: those counted, and the clips of unknown size at their mean."""
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


class Lines:
    """Plain progress: a line for every clip that ends, and one now and then in between."""

    def __init__(self, stream: TextIO | None = None, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._tally = Tally()
        self._heartbeat = heartbeat
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        self._tally.add(event)
        if event.kind in SPOKEN and (event.clip_id or event.sentence):
            self._line(describe(event))
        elif time.monotonic() - self._last >= self._heartbeat:
            self._line(self._tally.sentence())

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._last = time.monotonic()


class JsonLines:
    """Progress for programs: every event as one JSON line, with the run it belongs to."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._run = ""

    def __call__(self, event: Event) -> None:
        self._run = event.run or self._run
        facts = {"level": event.level, "run": self._run, **event.to_dict()}
        self._stream.write(json_line(**facts) + "\n")  # in one piece: threads may tell as well
        self._stream.flush()


class Bar:
    """Live progress on a terminal: clips, frames per second, time left; ended clips scroll by."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tally = Tally()
        self._task = progress.add_task("clips", total=None, detail="")

    def __call__(self, event: Event) -> None:
        self._tally.add(event)
        tally, left = self._tally, self._tally.remaining_seconds
        detail = f"{tally.restored} frames, {tally.rate:.1f} frames/s"
        self._progress.update(
            self._task,
            completed=tally.restored if tally.expected else tally.done,
            total=tally.expected or tally.total or None,
            description=f"{tally.done}/{tally.total} clips",
            detail=detail + ("" if left is None else f", {clock(left)} left"),
        )
        if event.kind in SPOKEN and (event.clip_id or event.sentence):
            self._progress.console.print(describe(event), markup=False, highlight=False)


def describe(event: Event) -> str:
    """An ended clip, or a note, on one line."""
    if event.kind != "clip":
        return _cell(f"{event.clip_id}: {event.sentence}" if event.clip_id else event.sentence)
    count = f"[{event.done}/{event.total}] " if event.total else ""
    why = f"  {event.reason}: {event.sentence}" if event.reason else ""
    size = f"  {event.frames} frames" if event.frames else ""
    took = f"  {clock(event.seconds)}" if event.seconds else ""
    return _cell(f"{count}{event.state:<11} {event.clip_id}{size}{took}{why}")


@contextlib.contextmanager
def quiet_stdout(as_json: bool) -> Iterator[None]:
    """With JSON, whatever a library prints on stdout meanwhile goes to stderr instead."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def progress(as_json: bool) -> Iterator[Report]:
    """Where a run reports to: JSON lines, a live bar on a terminal, plain lines elsewhere."""
    if as_json:
        with foreign_lines(JsonLines) as report:
            yield report
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _rich_bar() as bar:
            yield Bar(bar)
    else:
        yield Lines()


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


def describe_summary(summary: dict[str, object]) -> str:
    """The summary of a run, or of a job left running, for a person."""
    if "clips" not in summary:
        return f"job {summary['job']} submitted to {summary['address']}"
    clips = cast(dict[str, int], summary["clips"])
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in clips.items() if n)
    seconds, fps = cast(float, summary["seconds"]), cast(float, summary["fps"])
    left = summary.get("left")
    return (
        f"run {summary['run']}: {counts or 'no clips'}\n"
        + (f"{summary['stopped']}\n" if "stopped" in summary else "")
        + (f"stopped with {left} clips left: run it again to go on\n" if left else "")
        + f"{summary['frames']} frames in {clock(seconds)} ({fps:.2f} frames/s)\n"
        f"results in {summary['out']}"
    )
