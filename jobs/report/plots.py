"""Drawings of the report: the time of each stage, and measures frame by frame."""

from __future__ import annotations

from itertools import pairwise

from jobs.console.html import Html, Part, tag
from jobs.console.output import clock, grouped
from jobs.console.plot import Box, Points
from jobs.report.entry import ReportEntry, card
from schemas.verdict_rules import built_in_rules

STAGE_NAMES = {"decode": "decoding", "model": "restoring", "encode": "encoding"}
_SIDES = ("before", "after")
# The heading of each plot, and its columns of tables/frames.
CURVES: dict[str, tuple[str, dict[str, str]]] = {
    "mean_luma": ("Brightness, code values", {side: f"mean_luma_{side}" for side in _SIDES}),
    "noise_sigma": ("Noise, code values", {side: f"noise_sigma_{side}" for side in _SIDES}),
    "psnr_to_source_db": ("PSNR to source, dB", {"after": "psnr_to_source_db"}),
    "largest_change": ("Largest region changed, share of frame", {"after": "largest_change"}),
    "pixels_changed": ("Pixels changed strongly, share of frame", {"after": "pixels_changed"}),
}


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
    """Draw measures of each frame before and after, with cuts, limits and the frames shown."""
    plots: list[Part] = []
    for name, (label, columns) in CURVES.items():
        series = {side: _series(entry, column) for side, column in columns.items()}
        if all(len(points) > 1 for points in series.values()):
            plots += [tag("h3", label), _plot(entry, label, series, _limit(entry, name))]
    if not plots:
        return None
    key = tag(
        "p",
        tag("span", "— before", class_="ink-before"),
        "  ",
        tag("span", "— after", class_="ink-after"),
        "  ┊ cut  ",
        tag("span", "╌", class_="ink-limit"),
        " limit of a rule  ",
        tag("span", "▎", class_="ink-worst"),
        "a frame shown above. Select a place of a curve to see its frame.",
    )
    return card("Frame by frame", *plots, key)


def _limit(entry: ReportEntry, measure: str) -> float | None:
    """The limit of the rule on a measure: that of the clip's finding, else the built-in one."""
    broken = [float(str(f["rule_limit"])) for f in entry.findings if f["measure"] == measure]
    built_in = [rule.limit for rule in built_in_rules() if rule.measure == measure]
    return next(iter([*broken, *built_in]), None)


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


def _plot(entry: ReportEntry, label: str, series: dict[str, Points], limit: float | None) -> Html:
    """A plot with its axes: the values beside it, the frames below it."""
    values = [y for points in series.values() for _, y in points]
    low, high = min(values), max(values)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    last = max(float(str(row["frame"])) for row in entry.curves) or 1.0
    box = Box((0, last), (low, high), left=0, right=1000, top=5, bottom=95)
    lines: list[Part] = [
        tag("line", x1=box.across(x), x2=box.across(x), y1=0, y2=100) for x in _cuts(entry)
    ]
    if limit is not None:
        at = box.up(limit)
        lines.append(tag("line", x1=0, x2=1000, y1=at, y2=at, class_="limit"))
    drawing = tag(
        "svg",
        *lines,
        *(_mark(box, int(frame)) for frame in entry.pictures.frames if int(frame) <= last),
        *(box.curve(points, class_=side) for side, points in series.items()),
        class_="curve",
        viewBox="0 0 1000 100",
        preserveAspectRatio="none",
        data_last=f"{last:.0f}",
        role="group" if entry.pictures.frames else "img",
        aria_label=f"{label}, {low:.2f} to {high:.2f}, over {grouped(last + 1)} frames",
    )
    up = tag("div", tag("span", f"{high:.2f}"), tag("span", f"{low:.2f}"), class_="up")
    here = tag("span", class_="here", aria_hidden="true")
    frames = tag("span", "frame 0"), here, tag("span", f"frame {grouped(last)}")
    return tag("div", up, drawing, tag("div", *frames, class_="across"), class_="plot")


def _mark(box: Box, frame: int) -> Html:
    """A line at a frame whose pictures are on the page, as a link to them."""
    at = box.across(frame)
    line = tag("line", x1=at, x2=at, y1=0, y2=100, class_="worst")
    words = f"Frame {frame}"  # the heading of that frame is reached by keys
    return tag("a", line, href=f"#frame-{frame}", aria_label=words, tabindex=-1)
