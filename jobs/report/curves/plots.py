"""Measures of a clip frame by frame, as plots: a few that are shown, and groups to open."""

from __future__ import annotations

from itertools import pairwise

from jobs.console.html import Html, tag
from jobs.console.output import grouped
from jobs.console.plot import Box, Points
from jobs.report.curves.catalogue import CURVES, SHOWN, Curve
from jobs.report.curves.data import points
from jobs.report.entry import ReportEntry

_KEY = (
    ("— before", "ink-before"), ("— after", "ink-after"), ("┊ cut", None),
    ("╌ limit of a rule", "ink-limit"), ("▎a frame shown above", "ink-worst"),
)  # fmt: skip
NOTE = "Where a plot stands for several frames at once, it shows the worst or their mean."


def curves_section(entry: ReportEntry) -> Html | None:
    """The plots with cuts, limits and the frames shown; None without measures of frames."""
    groups = {name: _plots(entry, name) for name in CURVES}
    if not any(groups.values()):
        return None
    more = [
        tag("details", tag("summary", name), tag("div", *plots, class_="grid plots"))
        for name, plots in groups.items()
        if plots and name != SHOWN
    ]
    key = [tag("li", words, class_=style) for words, style in _KEY]
    return tag(
        "section",
        tag("h2", "Frame by frame"),
        tag("p", "Select a place of a curve to see its frame. ", NOTE),
        tag("ul", *key, class_="key"),
        tag("svg", tag("g", _cuts(entry), id="cuts"), class_="none", aria_hidden="true"),
        tag("div", *groups[SHOWN], class_="grid plots"),
        tag("h3", "More measures") if more else None,
        *more,
        id="curves",
    )


def _plots(entry: ReportEntry, group: str) -> list[Html]:
    found = []
    for curve in CURVES[group]:
        series = {side: _series(entry, column) for side, column in curve.names().items()}
        if all(series.values()) and max(map(len, series.values())) > (not curve.dots):
            head = tag(
                "h4" if group != SHOWN else "h3", curve.label, tag("small", f" {curve.unit}")
            )
            found.append(tag("div", head, _plot(entry, curve, series, linked=group == SHOWN)))
    return found


def _series(entry: ReportEntry, column: str) -> Points:
    return [] if entry.curves is None else points(entry.curves, column)


def _cuts(entry: ReportEntry) -> Html:
    """All cuts as one line, that every plot shows."""
    assert entry.curves is not None
    rows = zip(*(entry.curves.column(name).to_pylist() for name in ("frame", "shot")), strict=True)
    at = [frame for (_, before), (frame, shot) in pairwise(rows) if before != shot]
    box = Box((0, _last(entry)), (0, 1), left=0, right=1000, top=0, bottom=100)
    return tag("path", d=" ".join(f"M{box.across(x)} 0V100" for x in at), class_="cut")


def _last(entry: ReportEntry) -> float:
    assert entry.curves is not None
    return float(max(entry.curves.column("frame").to_pylist())) or 1.0


def limits(entry: ReportEntry, measure: str) -> list[float]:
    """The limits of the rules on a measure: those of the clip's recipe, or of its findings."""
    rules = {r.limit for r in entry.rules if r.measure == measure and r.verdict != "pass"}
    broken = {float(str(f["rule_limit"])) for f in entry.findings if f["measure"] == measure}
    return sorted(rules if broken <= rules else broken)


def _plot(entry: ReportEntry, curve: Curve, series: dict[str, Points], linked: bool) -> Html:
    """A plot with its axes: the values beside it, the frames below it."""
    allowed, zero = limits(entry, curve.measure), [0.0] if curve.dots else []
    values = [*(y for found in series.values() for _, y in found), *allowed, *zero]
    low, high, last = min(values), max(values), _last(entry)
    box = Box((0, last), (low, high), left=0, right=1000, top=5, bottom=95)
    lines = [
        tag("line", x1=0, x2=1000, y1=box.up(y), y2=box.up(y), class_="limit") for y in allowed
    ]
    frames = [int(frame) for frame in entry.pictures.frames if int(frame) <= last]
    linked = linked and bool(frames)
    ends = f"{_number(low)} to {_number(high)}"
    drawing = tag(
        "svg",
        tag("use", href="#cuts"),
        *lines,
        *((_link if linked else _mark)(box, frame) for frame in frames),
        *(_drawn(box, curve, found, side) for side, found in series.items()),
        class_="curve",
        viewBox="0 0 1000 100",
        preserveAspectRatio="none",
        data_last=f"{last:.0f}",
        role="group" if linked else "img",
        aria_label=f"{curve.label}, {curve.unit}: {ends}, over {grouped(last + 1)} frames",
    )
    up = tag("div", tag("span", _number(high)), tag("span", _number(low)), class_="up")
    here = tag("span", class_="here", aria_hidden="true")
    below = tag("span", "frame 0"), here, tag("span", f"frame {grouped(last)}")
    return tag("div", up, drawing, tag("div", *below, class_="across"), class_="plot")


def _drawn(box: Box, curve: Curve, found: Points, side: str) -> Html:
    if not curve.dots:
        return box.curve(found, class_=side)
    places = " ".join(f"M{box.across(x)} {box.up(y)}h0" for x, y in found)
    return tag("path", d=places, class_=f"{side} dots")


def _mark(box: Box, frame: int) -> Html:
    """A line at a frame whose pictures are on the page."""
    at = box.across(frame)
    return tag("line", x1=at, x2=at, y1=0, y2=100, class_="worst")


def _link(box: Box, frame: int) -> Html:
    """The same as a link to them. The heading of that frame is reached by keys."""
    words = f"Frame {frame}"
    return tag("a", _mark(box, frame), href=f"#frame-{frame}", aria_label=words, tabindex=-1)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")
