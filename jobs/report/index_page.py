"""The index of the report: all clips in one table that sorts and filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from jobs.console.html import Html, Part, tag
from jobs.console.output import grouped
from jobs.report.entry import (
    UNPUBLISHED,
    ReportEntry,
    badge,
    change,
    counted,
    decibels,
    document,
    state_name,
    worst_first,
)
from pipeline.detect.metrics import PSNR_CAP_DB

ORDER = (
    "Clips that were not published come first, then those with the largest repaired place. "
    "A trained model made the restored pictures. The originals are unchanged."
)
COLUMNS = (
    "Noise is a standard deviation in code values of 0 to 255, flicker is a percentage of the "
    "brightness; both before and after. PSNR to source (dB): the higher, the closer to the source. "
    "PSNR gain (dB): the improvement, measured with a clean reference."
)


def index_page(entries: Sequence[ReportEntry], out: str, written: str) -> str:
    ranked = worst_first(entries)
    counts = Counter(entry.state for entry in ranked)
    ready = sum(n for state, n in counts.items() if state not in UNPUBLISHED)
    rest = ", ".join(f"{counts[s]} {s}" for s in reversed(UNPUBLISHED) if counts[s])
    lead = f"{counted(len(ranked), 'clip')}: {ready} ready" + (f", {rest}" if rest else "")
    runs = sorted({entry.text("run") for entry in ranked})
    header = tag(
        "header",
        tag("h1", "Restoration report"),
        tag("p", f"{lead}.", class_="lead"),
        tag("p", f"{out} · latest run {runs[-1] if runs else '(none)'} · written {written}"),
        tag("p", ORDER),
        tag("p", COLUMNS),
    )
    return document("Restoration report", header, _tools(counts), _table(ranked))


def _tools(counts: Counter[str]) -> Html:
    options = [tag("option", f"{state_name(s)} ({n})", value=s) for s, n in sorted(counts.items())]
    return tag(
        "div",
        tag("label", "Find", tag("input", type="search", id="find", autocomplete="off")),
        tag("label", "State", tag("select", tag("option", "all", value=""), *options, id="state")),
        tag("span", id="shown", role="status"),
        class_="tools",
    )


def _table(entries: Sequence[ReportEntry]) -> Html:
    truth = any(e.number("ref_psnr_after_db") is not None for e in entries)
    heads = ["Clip", "State", "Frames", "Size", "Noise", "Flicker", "PSNR to source"]
    heads += ["PSNR gain"] if truth else []
    cells = [
        tag("th", tag("button", name, type="button"), scope="col", class_=_numeric(name))
        for name in heads
    ]
    rows = [_index_row(entry, truth) for entry in entries]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", tag("span", "Picture"), scope="col"), *cells)),
        tag("tbody", *rows),
        data_sortable=True,
    )
    return tag("div", table, class_="wide", tabindex=0, role="region", aria_label="Clips")


def _numeric(head: str) -> str | None:
    return None if head in ("Clip", "State") else "num"


def _index_row(entry: ReportEntry, truth: bool) -> Html:
    href, folder = f"clips/{quote(entry.clip_id)}.html", f"clips/{quote(entry.clip_id)}"
    thumb = entry.pictures.thumbnail
    image = tag(
        "img", src=f"{folder}/{quote(thumb)}", alt="", loading="lazy", class_="thumb"
    )  # no alternative text: the link beside it names the clip
    size = f"{entry.text('width')}x{entry.text('height')}" if entry.number("width") else ""
    last = [_gain(entry)] if truth else []
    return tag(
        "tr",
        tag("td", image if thumb else None),
        tag("td", tag("a", entry.clip_id, href=href), class_="clip", data_v=entry.clip_id),
        tag("td", badge(entry.state), _why(entry), class_="why", data_v=entry.state),
        _cell(entry.number("frames"), grouped(entry.number("frames"))),
        _cell(_area(entry), size),
        _change(entry, "noise_sigma"),
        _change(entry, "flicker"),
        _fidelity(entry),
        *last,
        data_state=entry.state,
    )


def _why(entry: ReportEntry) -> Html | None:
    reason = entry.text("reason")
    return tag("div", f"{reason}: {entry.text('sentence')}") if reason else None


def _area(entry: ReportEntry) -> float | None:
    width, height = entry.number("width"), entry.number("height")
    return width * height if width and height else None


def _fidelity(entry: ReportEntry) -> Html:
    value = entry.number("psnr_to_source_db")
    return _cell(value, "" if value is None else decibels(value))


def _gain(entry: ReportEntry) -> Html:
    """Show the gain in PSNR, unless one of the two pictures is identical to the reference."""
    before, after = entry.number("ref_psnr_before_db"), entry.number("ref_psnr_after_db")
    gain = change(before, after)
    if before is None or after is None or gain is None:
        return _cell(None, "")
    if max(before, after) >= PSNR_CAP_DB:
        return _cell(gain, "identical" if after >= PSNR_CAP_DB else "was identical")
    return _cell(gain, f"{gain:+.2f} dB")


def _change(entry: ReportEntry, name: str) -> Html:
    before, after = entry.number(f"{name}_before"), entry.number(f"{name}_after")
    if before is None or after is None:
        return _cell(None, "")
    shown = tag("span", tag("span", f"{before:.2f} → ", class_="was"), f"{after:.2f}")
    return _cell(after - before, shown)


def _cell(value: float | None, shown: Part) -> Html:
    return tag("td", shown, class_="num", data_v="" if value is None else f"{value:g}")
