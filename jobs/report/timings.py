"""The time that each stage of a clip took, as a bar."""

from __future__ import annotations

from jobs.console.html import Html, tag
from jobs.console.output import clock
from jobs.report.entry import ReportEntry, card

STAGE_NAMES = {"decode": "decoding", "model": "restoring", "encode": "encoding"}


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
