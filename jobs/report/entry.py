"""One clip of the report: its row and pictures, and the parts that both kinds of pages share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from jobs.console.html import Html, Part, page, tag
from jobs.console.output import grouped
from pipeline.detect.metrics import PSNR_CAP_DB

Row = Mapping[str, object]
UNPUBLISHED = ("failed", "quarantined", "held")  # worst first


@dataclass(frozen=True)
class ClipPictures:
    """The still pictures of one clip beside its page, and facts about its files."""

    ratio: float = 0.0  # width over height on the screen
    frames: dict[str, dict[str, str]] = field(default_factory=dict)  # frame -> kind -> file name
    thumbnail: str = ""
    streams: dict[str, str] = field(default_factory=dict)  # sound, subtitles, ...: what was kept
    regions: dict[str, str] = field(default_factory=dict)  # place of a region -> file name


@dataclass(frozen=True)
class ReportEntry:
    """One clip of the report: its row in the tables, its pictures and its curves."""

    row: Row
    pictures: ClipPictures = ClipPictures()
    curves: Sequence[Row] = ()
    output_link: str = ""
    regions: Sequence[Row] = ()  # of tables/regions: those to show, suspects first

    @property
    def clip_id(self) -> str:
        return str(self.row["clip_id"])

    @property
    def state(self) -> str:
        return str(self.row["state"])

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


def document(title: str, *body: Part, style: str = "") -> str:
    return page(title, asset("report.css") + style, asset("report.js"), *body)


def worst_first(entries: Sequence[ReportEntry]) -> list[ReportEntry]:
    """Sort the clips: unpublished ones first, then those with the largest repair, as a share of the
    frame; then those that differ most from their source.

    A large repair is what may have erased something real.
    """
    ranks = {state: rank for rank, state in enumerate(UNPUBLISHED)}

    def key(entry: ReportEntry) -> tuple[int, float, float, str]:
        area = (entry.number("width") or math.inf) * (entry.number("height") or math.inf)
        repaired = (entry.number("largest_repair") or 0.0) / area
        fidelity = entry.number("psnr_to_source_db") or math.inf
        return ranks.get(entry.state, len(ranks)), -repaired, fidelity, entry.clip_id

    return sorted(entries, key=key)


def state_name(state: str) -> str:
    return state.replace("_", " ")


def css_class(state: str) -> str:
    return state.replace("_", "-")


def badge(state: str) -> Html:
    return tag("span", state_name(state), class_=f"badge {css_class(state)}")


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
