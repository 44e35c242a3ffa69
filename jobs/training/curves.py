"""The learning curves of a training, drawn from its log: its losses, and PSNR in validation.

``python -m jobs.training.curves LOG [SVG]`` draws those of a training that is under way.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from jobs.console import output
from jobs.console.html import Html, Part, tag
from jobs.console.plot import Box, Points
from schemas.errors import ArchiveError

Stage = dict[int, dict[str, float]]  # what was measured, by step of the stage

NOT_DRAWN = {"step", "cpu_s", "skipped", "elbo_bits_per_dim"}
VALIDATION = "psnr_"
MOST_TICKS = 8
SMALLEST = 1e-6  # of a loss: the log rounds to it, and zero has no logarithm

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 960, 360, 78, 812, 52, 304
GROUND, INK, SOFT, GRID = "#faf9f6", "#1f1d1a", "#66615a", "#e3dfd7"
COLOURS = (  # told apart without red and green as well (Okabe and Ito 2008)
    "#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
)  # fmt: skip


def write(log: Path, svg: Path | None = None) -> Path:
    """Draw a training's log into ``curves.svg`` beside it, or into ``svg``."""
    svg = svg or log.with_name("curves.svg")
    svg.write_text(draw(log), encoding="utf-8")
    return svg


def draw(log: Path) -> str:
    """The log's curves as one SVG document: losses above, PSNR of each preset below."""
    stages = read(log)
    ends = [0, *accumulate(max(stage) for stage in stages)]
    if not ends[-1]:
        raise ArchiveError(
            f"{log} has no losses to draw: a training logs the first after `log_every` steps"
        )
    axes = (
        Axis("Training losses", "loss (no unit, log scale)", log=True),
        Axis("Validation, by preset", "PSNR (dB)", log=False),
    )
    curves = (_series(stages, ends, validation=False), _series(stages, ends, validation=True))
    panels = [_panel(*pair, ends) for pair in zip(axes, curves, strict=True) if pair[1]]
    title = f"Learning curves: {output.grouped(ends[-1])} steps, {len(stages)} stage"
    title += "s" * (len(stages) > 1)
    height = PANEL * len(panels)
    return (
        tag(
            "svg",
            tag("title", title),
            tag("rect", width=WIDTH, height=height, fill=GROUND),
            *(tag("g", p, transform=f"translate(0 {PANEL * n})") for n, p in enumerate(panels)),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {height}",
            width=WIDTH,
            height=height,
            font_family="system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif",
            font_size=13,
            fill=INK,
            role="img",
            aria_label=title,
        )
        + "\n"
    )


def read(log: Path) -> list[Stage]:
    """The stages of a log. What was done again after an interruption counts once, as it was done
    last: that is what the weights come from.
    """
    found: list[Stage] = []
    opening: dict[str, object] = {}
    for step, row in _rows(log):
        if step == 0:
            if row == opening:  # interrupted before anything was saved
                found.pop()
            opening = row
        if step == 0 or not found:
            found.append({})
        stage = found[-1]
        while stage and next(reversed(stage)) > step:
            stage.popitem()
        if measures := _measures(row):
            stage.setdefault(step, {}).update(measures)
    return [stage for stage in found if stage]


def _rows(log: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Rows with their step. A torn line, of a training that was killed, is passed over: the last,
    or the one that a resumed training wrote on.
    """
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ArchiveError(f"no training log at {log}: {error.strerror}") from error
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield row["step"], row


def _measures(row: dict[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if name not in NOT_DRAWN and isinstance(value, int | float) and math.isfinite(value)
    }


def _series(
    stages: Sequence[Stage], ends: Sequence[int], *, validation: bool
) -> dict[str, list[Points]]:
    """The points of each measure in each stage that has it, stages end to end; what is no preset
    comes last.
    """
    found: dict[str, list[Points]] = {}
    for stage, start in zip(stages, ends, strict=False):
        of_stage: dict[str, Points] = {}
        for step, measures in stage.items():
            for name, value in measures.items():
                if name.startswith(VALIDATION) == validation:
                    label = name.removeprefix(VALIDATION).replace("_", " ")
                    of_stage.setdefault(label, []).append((start + step, value))
        for label, points in of_stage.items():
            found.setdefault(label, []).append(points)
    return dict(sorted(found.items(), key=lambda item: item[0] == "in defects"))


@dataclass(frozen=True)
class Axis:
    """The upright axis of a panel."""

    title: str
    label: str
    log: bool

    @property
    def place(self) -> Callable[[float], float]:
        return (lambda y: math.log10(max(y, SMALLEST))) if self.log else float

    def ticks(self, low: float, high: float) -> list[float]:
        """Round values between two; on a log scale of 1, 2 and 5 where those are neither too few
        nor too many.
        """
        if not self.log:
            return _even(low, high)
        powers = range(math.floor(low), math.ceil(high) + 1)
        for digits in ((1, 2, 5), (1,)):
            ticks = [m * 10.0**p for p in powers for m in digits]
            ticks = [value for value in ticks if low <= math.log10(value) <= high]
            if len(ticks) <= MOST_TICKS:
                break
        if len(ticks) < 3:
            return _even(10**low, 10**high)
        return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]


def _even(low: float, high: float) -> list[float]:
    """Values between two at even distances of 1, 2 or 5."""
    smallest = (high - low) / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(smallest))
    distance = next(m * power for m in (1, 2, 5, 10) if m * power >= smallest)
    return [n * distance for n in range(math.ceil(low / distance), int(high // distance) + 1)]


def _panel(axis: Axis, series: dict[str, list[Points]], ends: Sequence[int]) -> Html:
    place = axis.place
    placed = {
        name: [[(x, place(y)) for x, y in points] for points in runs]
        for name, runs in series.items()
    }
    values = [y for runs in placed.values() for points in runs for _, y in points]
    room = 0.05 * (max(values) - min(values)) or 0.05
    box = Box((0, ends[-1]), (min(values) - room, max(values) + room), LEFT, RIGHT, TOP, BOTTOM)
    curves = [
        _curve(box, name, runs, COLOURS[n % len(COLOURS)], dots=not axis.log)
        for n, (name, runs) in enumerate(placed.items())
    ]
    return tag("g", *_frame(box, axis), *_stages(box, ends), *curves[::-1], *_legend(list(placed)))


def _frame(box: Box, axis: Axis) -> list[Html]:
    """Title, grid and the two axes."""
    middle = (TOP + BOTTOM) / 2
    parts = [
        tag("text", axis.title, x=LEFT, y=24, font_size=15, font_weight=600),
        _text(axis.label, 20, middle, "middle", transform=f"rotate(-90 20 {middle:g})"),
        _text("steps, stages end to end", (LEFT + RIGHT) / 2, BOTTOM + 40, "middle"),
        tag("path", d=f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}", fill="none", stroke=SOFT),
    ]
    for value in axis.ticks(*box.y):
        y = box.up(axis.place(value))
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=GRID))
        parts.append(_text(f"{value:g}", LEFT - 8, float(y) + 4.5, "end"))
    for value in _even(*box.x):
        x = box.across(value)
        parts.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, stroke=SOFT))
        parts.append(_text(output.grouped(value), x, BOTTOM + 20, "middle"))
    return parts


def _stages(box: Box, ends: Sequence[int]) -> list[Html]:
    """A dashed line where a stage begins, and its name above it where there is room."""
    parts = []
    for n in range(1, len(ends)):
        left, right = box.across(ends[n - 1]), box.across(ends[n])
        width = float(right) - float(left)
        if n > 1:
            line = tag(
                "line", x1=left, x2=left, y1=TOP - 14, y2=BOTTOM, stroke=SOFT,
                stroke_dasharray="4 4", class_="stage",
            )  # fmt: skip
            parts.append(line)
        name = f"stage {n}" if width > 60 else str(n) if width > 18 else ""
        if name and len(ends) > 2:
            parts.append(_text(name, float(left) + width / 2, TOP - 5, "middle"))
    return parts


def _curve(box: Box, name: str, runs: Sequence[Points], colour: str, dots: bool) -> Html:
    """One measure: a line a stage, and dots where measures are few."""
    lines = [box.curve(points) for points in runs]
    style: dict[str, Part] = {"stroke": colour, "stroke_width": 1.3, "stroke_linejoin": "round"}
    marks = [
        tag("circle", cx=box.across(x), cy=box.up(y), r=2.4, fill=colour, stroke="none")
        for points in runs
        for x, y in points
        if dots
    ]
    return tag("g", tag("title", name), *lines, *marks, fill="none", **style)


def _legend(names: Sequence[str]) -> list[Html]:
    parts = []
    for n, name in enumerate(names):
        y, colour = TOP + 12 + 22 * n, COLOURS[n % len(COLOURS)]
        left = RIGHT + 18
        parts.append(
            tag("line", x1=left, x2=left + 22, y1=y, y2=y, stroke=colour, stroke_width=2.5)
        )
        parts.append(tag("text", name, x=left + 30, y=y + 4.5))
    return parts


def _text(text: str, x: Part, y: Part, anchor: str, **attributes: Part) -> Html:
    return tag("text", text, x=x, y=y, text_anchor=anchor, fill=SOFT, **attributes)


if __name__ == "__main__":
    output.say(str(write(*map(Path, sys.argv[1:]))))
