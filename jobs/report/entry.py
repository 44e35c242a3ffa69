"""One clip of the report: its row and pictures, and the parts that both kinds of pages share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from jobs.console.html import Html, Part, join, page, tag
from jobs.console.output import grouped
from pipeline.detect.metrics import PSNR_CAP_DB
from schemas.verdict_rules import Rules, built_in_rules

Row = Mapping[str, object]
UNPUBLISHED = ("failed", "quarantined", "held")  # worst first
VERDICTS = {  # the most suspicious first
    "fail": "fail", "needs_review": "needs review", "pass": "pass", "untouched": "untouched"
}  # fmt: skip
FLAGGED = ("fail", "needs_review")
WAITS, MADE = "waits", "made"


@dataclass(frozen=True)
class ClipPictures:
    """The still pictures of one clip beside its page, and facts about its files."""

    ratio: float = 0.0  # width over height on the screen
    frames: dict[str, dict[str, str]] = field(default_factory=dict)  # frame -> kind -> file name
    thumbnail: str = ""
    streams: dict[str, str] = field(default_factory=dict)  # sound, subtitles, ...: what was kept
    regions: dict[str, str] = field(default_factory=dict)  # place of a region -> file name
    film: dict[str, Any] = field(default_factory=dict)  # `jobs.report.film.Film.facts`, and `file`


@dataclass(frozen=True)
class ReportEntry:
    """One clip of the report: its row in the tables, its pictures and its curves."""

    row: Row
    pictures: ClipPictures = ClipPictures()
    curves: pa.Table | None = None  # of `jobs.report.curves.data`
    output_link: str = ""
    regions: Sequence[Row] = ()  # of tables/regions: those to show, suspects first
    worst: Sequence[tuple[int, str]] = ()  # the worst frame of each measure, and its name
    findings: Sequence[Row] = ()  # of tables/findings, the gravest first: those that stand
    put_back: Sequence[Row] = ()  # the others: the source was put back for them
    shots: Sequence[Row] = ()  # of tables/shots
    review: Row | None = None  # of tables/reviews: the last one
    unrestored: Sequence[str] = ()  # streams that are not restored, or not kept
    access: str = ""  # of an access copy that waits for a person: WAITS or MADE
    access_link: str = ""  # to this copy, if it was made
    rules: Rules = field(default_factory=built_in_rules)  # of the clip's recipe

    @property
    def clip_id(self) -> str:
        return str(self.row["clip_id"])

    @property
    def state(self) -> str:
        return str(self.row["state"])

    @property
    def decision(self) -> str:
        """What a person decided about this version of the clip; empty if nobody did."""
        same = self.review is not None and self.review["output_sha256"] == self.row["output_sha256"]
        return str(self.review["decision"]) if same and self.review is not None else ""

    def number(self, column: str) -> float | None:
        """Return the value of a column; None if it is absent, empty or not a number."""
        value = self.row.get(column)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return None
        return float(value)

    def text(self, column: str) -> str:
        value = self.row.get(column)
        return "" if value is None else str(value)


@cache
def asset(name: str) -> str:
    return files("jobs.report").joinpath("assets", name).read_text(encoding="utf-8")


def document(title: str, header: Part, *body: Part, style: str = "") -> str:
    """A page of the report: a link that skips the header, the header, and the rest."""
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    main = tag("main", *body, id="content", tabindex=-1)
    script = asset("report.js") + asset("decisions.js")
    return page(title, asset("report.css") + style, script, skip, header, main)


def worst_first(entries: Sequence[ReportEntry]) -> list[ReportEntry]:
    """Sort the clips: those that fail or need review first, then unpublished ones, then those with
    the largest repair, as a share of the frame; then those that differ most from their source.

    A large repair is what may have erased something real.
    """
    ranks = {kind: rank for rank, kind in enumerate((*FLAGGED, *UNPUBLISHED))}

    def key(entry: ReportEntry) -> tuple[int, float, float, str]:
        fidelity = entry.number("psnr_to_source_db") or math.inf
        verdict = "" if entry.decision == "accept" else entry.text("verdict")
        rank = min(ranks.get(kind, len(ranks)) for kind in (entry.state, verdict))
        return rank, -(repair_share(entry) or 0.0), fidelity, entry.clip_id

    return sorted(entries, key=key)


def repair_share(entry: ReportEntry) -> float | None:
    """The largest repair as a share of its frame; None if it is not known."""
    repair, width, height = map(entry.number, ("largest_repair", "width", "height"))
    return None if repair is None or not width or not height else repair / (width * height)


def state_name(state: str) -> str:
    return state.replace("_", " ")


def css_class(state: str) -> str:
    return state.replace("_", "-")


def badge(state: str) -> Html:
    return tag("span", state_name(state), class_=f"badge {css_class(state)}")


def badges(entry: ReportEntry) -> Html:
    """The verdict of a clip, or its state if it has none, and what a person decided."""
    verdict = entry.text("verdict")
    decided = {"accept": "accepted", "rerun": "runs again"}.get(entry.decision, entry.decision)
    shown = [name for name in (verdict or entry.state, decided) if name]
    return join([badge(name) for name in dict.fromkeys(shown)])


def counted(number: float, noun: str) -> str:
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Return a signed percentage with a real minus sign; zero has no sign."""
    whole = f"{share:+z.0%}".replace("+0%", "0%")
    return whole.replace("-", "\u2212").replace("%", "\u2009%")


def decibels(psnr: float, digits: int = 1) -> str:
    """Return a PSNR with its unit. Identical pictures have no number: theirs is infinite."""
    return "identical" if psnr >= PSNR_CAP_DB else f"{psnr:.{digits}f} dB"


def change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def card(title: str, *children: Part) -> Html:
    return tag("div", tag("h2", title), *children, class_="card")
