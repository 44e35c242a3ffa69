"""What a command prints: one result on stdout, everything else on stderr.

A person gets sentences and tables. A program gets JSON (`--json`). One stream never holds both.
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from schemas import strict_json

if TYPE_CHECKING:
    from pipeline.sources.formats import ManifestFault

LISTED = 20  # clips that a text for people names one by one; the rest are only counted


def emit(value: object) -> None:
    """Print one JSON value on one line of stdout. Numbers that are not finite become null."""
    print(as_json(value), flush=True)  # noqa: T201


def as_json(value: object) -> str:
    """Return JSON on one line. Numbers that are not finite become null."""
    return strict_json.dumps(value, default=str, ensure_ascii=False)


def csv_lines(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV with a header.

    A text that a spreadsheet would read as a formula starts with an apostrophe, so it stays text.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow([_inert(name) for name in rows[0]])
    writer.writerows([_inert(value) for value in row.values()] for row in rows)
    return stream.getvalue().rstrip("\n")


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    formula = value.lstrip().startswith(("=", "+", "-", "@")) or value[:1] in ("\t", "\r")
    return f"'{value}" if formula else value


def say(text: str) -> None:
    """Print text of the result for a person, on stdout."""
    print(text, flush=True)  # noqa: T201


class Warnings:
    """The warnings of a manifest. In text each one is a line on stderr."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.found: list[dict[str, object]] = []  # for the result in JSON

    def add(self, warning: ManifestFault) -> None:
        self.found.append(warning._asdict())
        if not self._as_json:
            log(f"warning: {warning}")


def log(text: str, as_json: bool = False) -> None:
    """Print a line that is not the result, on stderr. With ``as_json``, as an error of the log."""
    line = json_line(level="error", kind="error", sentence=text) if as_json else text
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def json_line(**facts: object) -> str:
    """Return a line of the log for programs, with the time in UTC."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return strict_json.dumps({"time": now, **facts}, default=str, ensure_ascii=False)


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Return rows in aligned columns: plain text, numbers to the right, nothing cut off."""
    if not rows:
        return "(no rows)"
    names = list(columns) or list(rows[0])
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]

    def line(values: Sequence[str]) -> str:
        parts = zip(values, widths, numeric, strict=True)
        return "  ".join(v.rjust(w) if right else v.ljust(w) for v, w, right in parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(names), rule, *map(line, cells)])


def vertical(rows: Sequence[Mapping[str, object]]) -> str:
    """Return each row as lines of column and value: for rows that are wider than a screen."""
    blocks = []
    for number, row in enumerate(rows, start=1):
        width = max(map(len, row), default=0)
        lines = [f"{name.ljust(width)}  {cell(value)}".rstrip() for name, value in row.items()]
        blocks.append("\n".join([f"row {number}", *lines]))
    return "\n\n".join(blocks) or "(no rows)"


def cell(value: object) -> str:
    """Return a table cell's text on one line, without control characters (names are untrusted)."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(c if c.isprintable() else " " for c in str(value)).strip()


def clock(seconds: float) -> str:
    """Return a duration for people: ``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def grouped(number: float | None) -> str:
    """Return a whole number with a thin space between thousands; an empty text for None."""
    return "" if number is None else f"{int(number):,}".replace(",", "\u202f")


@contextlib.contextmanager
def quiet_stdout(as_json: bool) -> Iterator[None]:
    """With JSON, send what libraries print on stdout to stderr instead."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def describe_summary(summary: dict[str, object]) -> str:
    """Return the summary of a run, or of a submitted job, for a person."""
    if "clips" not in summary:
        return f"job {summary['job']} submitted to {summary['address']}"
    clips = cast(dict[str, int], summary["clips"])
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in clips.items() if n)
    seconds, fps = cast(float, summary["seconds"]), cast(float, summary["fps"])
    left, review = summary.get("left"), summary.get("review")
    return (
        f"run {summary['run']}: {counts or 'no clips'}\n"
        + (f"{summary['stopped']}\n" if "stopped" in summary else "")
        + (f"stopped with {left} clips left: run it again to continue\n" if left else "")
        + (f"{review} clips need review: see `query --view review_queue`\n" if review else "")
        + f"{summary['frames']} frames in {clock(seconds)} ({fps:.2f} frames/s)\n"
        f"results in {summary['out']}"
    )
