"""Drawings of the report: the time of each stage, and measures frame by frame."""

from __future__ import annotations

from itertools import pairwise

from jobs.console.html import Html, Part, tag
from jobs.console.output import clock, grouped
from jobs.console.plot import Box, Points
from jobs.report.entry import ReportEntry, card

STAGE_NAMES = {"decode": "decoding", "model": "restoring", "encode": "encoding"}
CURVES = {"mean_luma": "Brightness", "noise_sigma": "Noise"}


def timings(entry: ReportEntry) -> Html | None:
    values = {stage: entry.number(f"seconds_{stage}") or 0.0 for stage in STAGE_NAMES}
    total = sum(values.values())
    if total <= 0:
        return None
    bars, keys, x = [], [], 0.0
    for stage, seconds in values.items():
        width = 100 * seconds / total
        bars.append(tag("rect", x=f"{x:.2f}", y=0, width=f"{width:.2f}", height=6, class_=stage))
        swatch = tag("rect", width=6, height=6, class_=stage)
        mark = tag("svg", swatch, class_="bar", viewBox="0 0 6 6", aria_hidden="true")
        keys.append(tag("li", mark, f"{STAGE_NAMES[stage]} {clock(seconds)} ({width:.0f} %)"))
        x += width
    bar = tag(
        "svg",
        *bars,
        class_="bar",
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    frames = entry.number("frames")
    speed = tag("p", f"{frames / total:.2f} frames per second of working time.") if frames else None
    return card("Working time", bar, tag("ul", *keys, class_="key"), speed)


def curves(entry: ReportEntry) -> Html | None:
    """Draw measures of each frame before and after, with the cuts."""
    plots: list[Part] = []
    for name, label in CURVES.items():
        series = {side: _series(entry, f"{name}_{side}") for side in ("before", "after")}
        if len(series["before"]) > 1 and len(series["after"]) > 1:
            values = [y for points in series.values() for _, y in points]
            bounds = f"{min(values):.2f} to {max(values):.2f}"
            title = tag("h3", label, " ", tag("small", bounds))
            plots += [title, _plot(f"{label}, {bounds}", series, _cuts(entry))]
    if not plots:
        return None
    key = tag(
        "p",
        tag("span", "— before", class_="ink-before"),
        "  ",
        tag("span", "— after", class_="ink-after"),
        "  ┊ cut",
    )
    return card("Frame by frame", *plots, key)


def _series(entry: ReportEntry, column: str) -> Points:
    """Return (frame, value) for the measured frames."""
    points = [(row.get("frame"), row.get(column)) for row in entry.curves]
    return [
        (float(x), float(y))
        for x, y in points
        if isinstance(x, int | float) and isinstance(y, int | float) and y == y
    ]


def _cuts(entry: ReportEntry) -> list[float]:
    rows = list(entry.curves)
    pairs = pairwise(rows)
    return [float(str(b["frame"])) for a, b in pairs if a.get("shot") != b.get("shot")]


def _plot(label: str, series: dict[str, Points], cuts: list[float]) -> Html:
    values = [y for points in series.values() for _, y in points]
    last = max(x for points in series.values() for x, _ in points) or 1.0
    box = Box((0, last), (min(values), max(values)), left=0, right=1000, top=5, bottom=95)
    lines = [tag("line", x1=box.across(x), x2=box.across(x), y1=0, y2=100) for x in cuts]
    curves = [box.curve(points, class_=side) for side, points in series.items()]
    return tag(
        "svg",
        *lines,
        *curves,
        class_="curve",
        viewBox="0 0 1000 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}, over {grouped(last + 1)} frames",
    )
