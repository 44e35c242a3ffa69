"""The part of the fleet's page about canaries: damage of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.console.html import Html, Part, tag
from jobs.console.output import grouped
from jobs.report.entry import Row, counted
from jobs.report.fleet.charts import changed, changes, drift_charts, night, rounded
from jobs.report.fleet.data import PLANTED, Fleet
from jobs.report.fleet.tables import scrolling_table

ABOUT = (
    "A canary is damage that the program plants on a shot found clean: in memory, on a few frames. "
    "The model restores it as it restores a film, and the result is compared with the clean "
    "picture. So the truth is known, and this is the true score of a night. Nothing of it is "
    "published."
)
MEANING = (
    "The gain is how much closer to the clean picture the result is than the damaged one. The more "
    "damage is repaired and the less of the rest is harmed, the better. A fall after a dashed line "
    "means that the new code, recipe or weights repair less: look at clips of that night before "
    "you trust it. A fall without such a line means other material, or a fault of a machine: "
    "compare the shots in the table of canaries."
)
NO_FALL = (
    "No score got worse from one run to the next by more than chance explains. With fewer than 20 "
    "canaries of a collection in both runs, nobody can tell."
)
NAMES = {
    "canary_gain_db": "the gain in PSNR, in dB,",
    "canary_repaired": "the share of the damage repaired",
    "canary_harmed": "the share of the rest harmed",
}


def canaries_section(found: Fleet) -> Html:
    """Scores of all runs that planted damage, and each fall that is no chance."""
    head = tag("h2", "Canaries: the true score of a night")
    runs = found.canaries
    if not runs:
        how = "No run has canaries. The key canaries of a recipe plants them: 0.05 on 5 % of shots."
        return tag("section", head, tag("p", ABOUT), tag("p", how))
    parts: list[Part] = [tag("p", ABOUT), tag("p", MEANING), _falls(found)]
    if len(runs) > 1:
        parts += [drift_charts(runs, PLANTED), tag("h3", "What changed"), changed(runs)]
    return tag("section", head, *parts, _table(runs), id="canaries")


def _falls(found: Fleet) -> Html | None:
    if len(found.canaries) < 2:
        return None
    if not found.falls:
        return tag("p", NO_FALL)
    lines = [tag("li", _fall(row)) for row in found.falls]
    head = tag("h3", "Worse than the run before")
    return tag("div", head, tag("ul", *lines), class_="notice needs-review")


def _fall(row: Row) -> str:
    where = f" of {row['collection']}" if row["collection"] else ""
    why = f"Changed in between: {row['changed']}." if row["changed"] else "No version changed."
    before, after = (rounded(float(str(row[name]))) for name in ("previous_median", "median"))
    return (
        f"Run of {night(row)}: {NAMES[str(row['measure'])]} went from {before} to {after}, in the "
        f"median of {counted(float(str(row['clips'])), 'shot')}{where}. {why}"
    )


def _table(runs: Sequence[Row]) -> Html:
    marked = changes(runs)
    rows: list[list[Part]] = []
    for n, run in reversed(list(enumerate(runs))):
        rows.append(
            [night(run), marked.get(n, ""), grouped(float(str(run["canaries"]))),
             grouped(float(str(run["faults"]))), *(_median(run, column) for column in PLANTED)]
        )  # fmt: skip
    heads = ["run", "changed before it", "canaries", "without a score", *PLANTED.values()]
    return scrolling_table("Canaries of each run, medians", heads, rows, words=2)


def _median(run: Row, column: str) -> str:
    three = run[column]
    return rounded(float(three[1])) if isinstance(three, list) else ""
