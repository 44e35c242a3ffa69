"""The learning curves of a training, drawn from its log: losses, and validation PSNR.

``python -m jobs.training.curves LOG [SVG]`` also works while the training runs.
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

Stage = dict[int, dict[str, float]]  # measures by step of the stage

NOT_DRAWN = {"step", "cpu_s", "wall_s", "waited_s", "step_ms", "skipped", "elbo_bits_per_dim"}
VALIDATION_PREFIX = "psnr_"
MOST_TICKS = 8
SMALLEST_LOSS = 1e-6  # the log is rounded to it, and zero has no logarithm
AXIS_STEPS = (1, 2, 5)  # digits of round values on an axis

SVG_WIDTH, PANEL_HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 78, 812, 52, 304  # edges of the plot in a panel
BACKGROUND, INK, SOFT_INK, GRID = "#faf9f6", "#1f1d1a", "#66615a", "#e3dfd7"
CURVE_COLOURS = (  # for readers who cannot tell red from green (Okabe and Ito 2008)
    "#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
)  # fmt: skip


def write(log: Path, svg: Path | None = None) -> Path:
    """Draw a training's log to ``curves.svg`` beside it, or to ``svg``; return the path."""
    svg = svg or log.with_name("curves.svg")
    svg.write_text(draw(log), encoding="utf-8")
    return svg


def draw(log: Path) -> str:
    """Return the curves of a log as an SVG document: losses above, PSNR of each preset below.

    Raises ArchiveError if the log has no losses yet.
    """
    stages = read(log)
    ends = [0, *accumulate(max(stage) for stage in stages)]
    if not ends[-1]:
        raise ArchiveError(
            f"{log} has no losses yet: a training logs the first one after `log_every` steps"
        )
    axes = (
        Axis("Training losses", "loss (no unit, log scale)", log=True),
        Axis("Validation, by preset", "PSNR (dB)", log=False),
    )
    curves = (_series(stages, ends, validation=False), _series(stages, ends, validation=True))
    panels = [_panel(*pair, ends) for pair in zip(axes, curves, strict=True) if pair[1]]
    title = f"Learning curves: {output.grouped(ends[-1])} steps, {len(stages)} stage"
    title += "s" * (len(stages) > 1)
    height = PANEL_HEIGHT * len(panels)
    return (
        tag(
            "svg",
            tag("title", title),
            tag("rect", width=SVG_WIDTH, height=height, fill=BACKGROUND),
            *(
                tag("g", p, transform=f"translate(0 {PANEL_HEIGHT * n})")
                for n, p in enumerate(panels)
            ),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {SVG_WIDTH} {height}",
            width=SVG_WIDTH,
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
    """Return the stages of a log.

    Steps that were repeated after an interruption count once. The last values count, because the
    weights come from those steps.
    """
    found: list[Stage] = []
    opening: dict[str, object] = {}
    for step, row in _rows(log):
        if step == 0:
            if row == opening:  # the training was interrupted before it saved anything
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
    """Yield rows with their step.

    Broken lines are skipped: a killed training leaves one at the end or where it was continued.
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
    """Return the points of each measure by stage, stages end to end.

    The measure "in defects" is no preset and comes last.
    """
    found: dict[str, list[Points]] = {}
    for stage, start in zip(stages, ends, strict=False):
        stage_points: dict[str, Points] = {}
        for step, measures in stage.items():
            for name, value in measures.items():
                if name.startswith(VALIDATION_PREFIX) == validation:
                    label = name.removeprefix(VALIDATION_PREFIX).replace("_", " ")
                    stage_points.setdefault(label, []).append((start + step, value))
        for label, points in stage_points.items():
            found.setdefault(label, []).append(points)
    return dict(sorted(found.items(), key=lambda item: item[0] == "in defects"))


@dataclass(frozen=True)
class Axis:
    """The vertical axis of a panel."""

    title: str
    label: str
    log: bool

    @property
    def place(self) -> Callable[[float], float]:
        return (lambda y: math.log10(max(y, SMALLEST_LOSS))) if self.log else float

    def ticks(self, low: float, high: float) -> list[float]:
        """Return round values between two values.

        A log scale has steps of 1, 2 and 5, or only of 1 if there are too many, or even steps if
        there are too few.
        """
        if not self.log:
            return _even(low, high)
        powers = range(math.floor(low), math.ceil(high) + 1)
        for digits in (AXIS_STEPS, (1,)):
            ticks = [m * 10.0**p for p in powers for m in digits]
            ticks = [value for value in ticks if low <= math.log10(value) <= high]
            if len(ticks) <= MOST_TICKS:
                break
        if len(ticks) < 3:
            return _even(10**low, 10**high)
        return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]


def _even(low: float, high: float) -> list[float]:
    """Return values between two values at even distances of 1, 2 or 5."""
    smallest = (high - low) / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(smallest))
    distance = next(m * power for m in (*AXIS_STEPS, 10) if m * power >= smallest)
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
        _curve(box, name, runs, CURVE_COLOURS[n % len(CURVE_COLOURS)], dots=not axis.log)
        for n, (name, runs) in enumerate(placed.items())
    ]
    return tag("g", *_frame(box, axis), *_stages(box, ends), *curves[::-1], *_legend(list(placed)))


def _frame(box: Box, axis: Axis) -> list[Html]:
    """Draw title, grid and the two axes."""
    middle = (TOP + BOTTOM) / 2
    parts = [
        tag("text", axis.title, x=LEFT, y=24, font_size=15, font_weight=600),
        _text(axis.label, 20, middle, "middle", transform=f"rotate(-90 20 {middle:g})"),
        _text("steps, stages end to end", (LEFT + RIGHT) / 2, BOTTOM + 40, "middle"),
        tag("path", d=f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}", fill="none", stroke=SOFT_INK),
    ]
    for value in axis.ticks(*box.y):
        y = box.up(axis.place(value))
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=GRID))
        parts.append(_text(f"{value:g}", LEFT - 8, float(y) + 4.5, "end"))
    for value in _even(*box.x):
        x = box.across(value)
        parts.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, stroke=SOFT_INK))
        parts.append(_text(output.grouped(value), x, BOTTOM + 20, "middle"))
    return parts


def _stages(box: Box, ends: Sequence[int]) -> list[Html]:
    """Draw a dashed line at the start of each stage, and its name if there is room."""
    parts = []
    for n in range(1, len(ends)):
        left, right = box.across(ends[n - 1]), box.across(ends[n])
        width = float(right) - float(left)
        if n > 1:
            line: dict[str, Part] = {"x1": left, "x2": left, "y1": TOP - 14, "y2": BOTTOM}
            parts.append(
                tag("line", **line, stroke=SOFT_INK, stroke_dasharray="4 4", class_="stage")
            )
        name = f"stage {n}" if width > 60 else str(n) if width > 18 else ""
        if name and len(ends) > 2:
            parts.append(_text(name, float(left) + width / 2, TOP - 5, "middle"))
    return parts


def _curve(box: Box, name: str, runs: Sequence[Points], colour: str, dots: bool) -> Html:
    """Draw one measure: a line for each stage, and dots for single measurements."""
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
        y, colour = TOP + 12 + 22 * n, CURVE_COLOURS[n % len(CURVE_COLOURS)]
        left = RIGHT + 18
        parts.append(
            tag("line", x1=left, x2=left + 22, y1=y, y2=y, stroke=colour, stroke_width=2.5)
        )
        parts.append(tag("text", name, x=left + 30, y=y + 4.5))
    return parts


def _text(text: str, x: Part, y: Part, anchor: str, **attributes: Part) -> Html:
    return tag("text", text, x=x, y=y, text_anchor=anchor, fill=SOFT_INK, **attributes)


if __name__ == "__main__":
    output.say(str(write(*map(Path, sys.argv[1:]))))
