"""The charts of the fleet: drawings without a script, each beside a table or words that say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from jobs.console.html import Html, Part, tag
from jobs.console.plot import Box
from jobs.report.entry import css_class
from jobs.report.fleet.data import QUANTILES, Spread
from pipeline.detect.verdict import said
from schemas.verdict_rules import MEASURES

WIDTH, HEIGHT = 400, 120
MARGIN = 0.03  # of the width, left and right of the values


def stack(counts: Mapping[str, int]) -> Html:
    """A bar of 100 % with a part for each count, coloured by its name."""
    total, parts, x = sum(counts.values()) or 1, [], 0.0
    for name, count in counts.items():
        width = 100 * count / total
        if count:
            parts.append(
                tag("rect", x=f"{x:.2f}", y=0, width=f"{width:.2f}", height=6,
                    class_=css_class(name))
            )  # fmt: skip
        x += width
    return _bar(*parts)


def bar(share: float, style: str) -> Html:
    """A bar as long as a share of its place."""
    return _bar(tag("rect", x=0, y=0, width=f"{100 * share:.2f}", height=6, class_=style))


def _bar(*parts: Part) -> Html:
    return tag(
        "svg", *parts, class_="bar stack", viewBox="0 0 100 6", preserveAspectRatio="none",
        aria_hidden="true",
    )  # fmt: skip


def distribution(spread: Spread, words: str) -> Html:
    """The share of the clips below each value, with the limit of the rule."""
    limit = spread.rule.limit
    low, high = min(*spread.values, limit), max(*spread.values, limit)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    box = Box((low, high), (0, 1), left=0, right=WIDTH, top=4, bottom=HEIGHT - 4)
    at = box.across(limit)
    line = tag("line", x1=at, x2=at, y1=0, y2=HEIGHT, class_="limit")
    points = zip(spread.values, QUANTILES, strict=True)
    drawing = _drawing(words, line, box.curve(points, class_="after"))
    unit = MEASURES[spread.rule.measure]
    ends = (amount(spread.values[0], unit), amount(spread.values[-1], unit))
    return _with_axes(drawing, ("all clips", "none"), ends)


def drift(runs: Sequence[Mapping[str, object]], column: str, words: str) -> Html | None:
    """Median and middle half of a measure in each run; None without two runs that have it."""
    found = [(n, run[column]) for n, run in enumerate(runs) if isinstance(run[column], list)]
    if len(found) < 2:
        return None
    values = [float(value) for _, three in found for value in three]  # type: ignore[attr-defined]
    low, high = min(values), max(values)
    box = Box((0, len(runs) - 1), (low, high), left=8, right=WIDTH - 8, top=6, bottom=HEIGHT - 6)
    parts: list[Part] = [
        tag("line", x1=box.across(n - 0.5), x2=box.across(n - 0.5), y1=0, y2=HEIGHT, class_="mark")
        for n in changes(runs)
    ]
    for n, three in found:
        quarter, median, most = map(float, three)  # type: ignore[call-overload]
        x = box.across(n)
        parts.append(tag("line", x1=x, x2=x, y1=box.up(quarter), y2=box.up(most), class_="half"))
        parts.append(tag("circle", cx=x, cy=box.up(median), r=4, class_="after"))
    medians = ((n, float(three[1])) for n, three in found)  # type: ignore[index]
    drawing = _drawing(words, *parts, box.curve(medians, class_="after"))
    ends = (night(runs[0]), night(runs[-1]))
    return _with_axes(drawing, (rounded(high), rounded(low)), ends)


def drift_charts(runs: Sequence[Mapping[str, object]], measures: Mapping[str, str]) -> Html:
    """A card with a chart for each measure that two runs have."""
    cards = []
    for column, name in measures.items():
        words = f"{name}: medians of {len(runs)} runs"
        if (chart := drift(runs, column, words)) is not None:
            cards.append(tag("div", tag("h3", name), chart, class_="card"))
    return tag("div", *cards, class_="grid")


def changed(runs: Sequence[Mapping[str, object]]) -> Html:
    """What the dashed lines of the charts mean, in words."""
    lines = [
        tag("li", f"before the run of {night(runs[n])}: {what}")
        for n, what in changes(runs).items()
    ]
    return tag("ul", *lines) if lines else tag("p", "Code, recipe and weights did not change.")


def changes(runs: Sequence[Mapping[str, object]]) -> dict[int, str]:
    """The runs before which code, recipe or weights changed, and what changed."""
    kinds = {"code": "code", "recipe_sha256": "recipe", "weights_sha256": "weights"}
    found = {}
    for number, (before, after) in enumerate(pairwise(runs), 1):
        changed = [name for column, name in kinds.items() if before[column] != after[column]]
        if changed:
            found[number] = ", ".join(changed)
    return found


def amount(value: float, unit: str) -> str:
    """A number of a measure with its unit; without one if that says only how far it can go."""
    return f"{value:.3g}" if unit in ("ratio", "0 to 1", "-1 to 1") else said(value, unit)


def night(run: Mapping[str, object]) -> str:
    """The day and the time of a run, from its id."""
    name = str(run["run"])
    return f"{name[:4]}-{name[4:6]}-{name[6:8]} {name[9:11]}:{name[11:13]}"


def _drawing(words: str, *parts: Part) -> Html:
    return tag(
        "svg", *parts, class_="curve", viewBox=f"0 0 {WIDTH} {HEIGHT}", preserveAspectRatio="none",
        role="img", aria_label=words,
    )  # fmt: skip


def _with_axes(drawing: Html, up: tuple[str, str], across: tuple[str, str]) -> Html:
    beside = tag("div", *(tag("span", word) for word in up), class_="up")
    below = tag("div", *(tag("span", word) for word in across), class_="across")
    return tag("div", beside, drawing, below, class_="plot")


def rounded(value: float) -> str:
    """Three digits, with a real minus sign."""
    return f"{value:.3g}".replace("-", "\u2212")
