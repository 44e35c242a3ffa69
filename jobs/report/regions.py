"""The part of a clip's page about its regions: what was left, and the largest repairs."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

import pyarrow as pa

from jobs.console.html import Html, Part, tag
from jobs.report.decide import decide_region
from jobs.report.entry import ReportEntry, Row, counted
from schemas.repairs import WHY

SHOWN = 6  # suspects on a page at most, and as many repairs
# The largest region of every span of a clip, so that one thing in motion is not all that is shown.
_SPANS = 24
_WORST_OF = """
WITH found AS (
    SELECT *, frame // (1 + max(frame) OVER (PARTITION BY clip_id, run) // {spans}) AS span
    FROM regions WHERE (clip_id, run) IN ({clips})
), worst AS (
    SELECT * FROM found
    QUALIFY row_number() OVER (
        PARTITION BY clip_id, decision, span ORDER BY area DESC, change DESC, frame, y, x
    ) = 1
)
SELECT clip_id, decision, why, probability, shot, frame, x, y, width, height, area, bright
FROM worst
QUALIFY row_number() OVER (
    PARTITION BY clip_id, decision ORDER BY area DESC, change DESC, frame, y, x
) <= {shown}
ORDER BY clip_id, decision DESC, area DESC, change DESC, frame, y, x
"""
_CLIPS_PER_QUERY = 50
DECIDE = {  # of a region, by its `decision`: the decision of a person, and its words
    "suspect": ("accept", "Have it repaired"),
    "repair": ("revert", "Put it back"),
}
_HEADS = {
    "suspect": "Left because it may be real",
    "repair": "Largest repairs",
}


def worst_regions(
    clips: Iterable[Row], query: Callable[[str], pa.Table]
) -> dict[str, Sequence[Row]]:
    """The regions to show of each clip, suspects first, the largest first.

    ``clips`` are rows of tables/clips.
    """
    found: dict[str, list[Row]] = defaultdict(list)
    restored = [row for row in clips if row.get("regions_repaired") or row.get("suspects")]
    for start in range(0, len(restored), _CLIPS_PER_QUERY):
        names = ", ".join(
            f"({_quoted(str(row['clip_id']))}, {_quoted(str(row['run']))})"
            for row in restored[start : start + _CLIPS_PER_QUERY]
        )
        sql = _WORST_OF.format(clips=names, spans=_SPANS, shown=SHOWN)
        for row in query(sql).to_pylist():
            found[row["clip_id"]].append(row)
    return dict(found)


def picture_name(row: Row) -> str:
    """A name for the picture of a region, from its place."""
    return "-".join(str(row[name]) for name in ("frame", "x", "y", "width", "height"))


def regions_section(entry: ReportEntry, out: str = "OUT") -> Html | None:
    """The part of a clip's page about its regions; None if it has none."""
    if not entry.regions:
        return None
    parts: list[Part] = [tag("h2", "Repaired, and left"), tag("p", _counts(entry))]
    for decision, head in _HEADS.items():
        rows = [row for row in entry.regions if row["decision"] == decision]
        if rows:
            parts.append(tag("h3", head))
            parts.append(tag("div", *(_region(entry, row, out) for row in rows), class_="regions"))
    command = f"SELECT * FROM suspects WHERE clip_id = '{entry.clip_id}'"
    parts.append(tag("p", "All of them: ", tag("code", f'archive-restore query "{command}"')))
    return tag("section", *parts)


def _counts(entry: ReportEntry) -> str:
    repaired, left = (int(entry.number(n) or 0) for n in ("regions_repaired", "suspects"))
    words = f"{counted(repaired, 'region')} repaired in all frames."
    if left:
        words += (
            f" {counted(left, 'region')} left as in the source, since a repair could erase a real"
            " thing. Check these by eye."
        )
    if entry.pictures.regions:
        words += " Each picture shows the source on the left and the restored clip on the right."
    return words


def _decide(entry: ReportEntry, row: Row, out: str) -> Html:
    """The command that has a suspect repaired, or puts a repaired region back."""
    box = ",".join(str(row[name]) for name in ("x", "y", "width", "height"))
    decision, words = DECIDE[str(row["decision"])]
    command = f"archive-restore review {decision} {shlex.quote(entry.clip_id)} --by NAME"
    code = tag("code", f"{command} --region {row['frame']}:{box} --out {shlex.quote(out)}")
    box_to_tick = decide_region(f"{row['frame']}:{box}", decision, words)
    return tag(
        "div", box_to_tick, tag("details", tag("summary", f"{words}, frame {row['frame']}"), code)
    )


def _region(entry: ReportEntry, row: Row, out: str) -> Html:
    kind = "bright" if row["bright"] else "dark"
    place = f"{row['width']} x {row['height']} pixels at column {row['x']}, line {row['y']}"
    sentence = f"Frame {row['frame']}: a {kind} place of {place}. {WHY.get(str(row['why']), '')}"
    if (sure := row.get("probability")) is not None:
        sentence += f" By its looks alone it is a defect with a probability of {sure:.0%}."
    caption = tag("figcaption", sentence, _decide(entry, row, out))
    name = entry.pictures.regions.get(picture_name(row))
    if not name:
        return tag("figure", caption)
    alt = f"Frame {row['frame']} around the region: the source left, the restored clip right"
    address = f"{quote(entry.clip_id)}/{quote(name)}"
    return tag("figure", tag("img", src=address, alt=alt, loading="lazy"), caption)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
