"""The index of the report: all clips in one table that sorts and filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from jobs.console.html import Html, Part, tag
from jobs.console.output import grouped
from jobs.report.decide import deck
from jobs.report.entry import (
    FLAGGED,
    UNPUBLISHED,
    VERDICTS,
    ReportEntry,
    badges,
    change,
    counted,
    decibels,
    document,
    repair_share,
    state_name,
    worst_first,
)
from jobs.report.words import words_section
from pipeline.clip.clip import WITHOUT_PICTURES
from pipeline.detect.metrics import PSNR_CAP_DB

ORDER = (
    "The clips to look at come first: those that a rule flagged, those that were not published, "
    "then those with the largest repaired place. A trained model made the restored pictures. The "
    "originals are unchanged."
)
COLUMNS = (
    "Largest repair: share of its frame. Noise: standard deviation in code values of 0 to 255. "
    "Flicker: percent of the brightness. Both before and after. PSNR to source: the higher, the "
    "closer to the source. PSNR gain: improvement, measured with a clean reference."
)


def index_page(entries: Sequence[ReportEntry], out: str, written: str) -> str:
    ranked = worst_first(entries)
    runs = sorted({entry.text("run") for entry in ranked})
    header = tag(
        "header",
        tag(
            "nav", tag("a", "All clips and nights together", href="fleet.html"), aria_label="Pages"
        ),
        tag("h1", "Restoration report"),
        tag("p", _lead(ranked), class_="lead"),
        tag("p", f"{out} · latest run {runs[-1] if runs else '(none)'} · written {written}"),
        tag("p", ORDER),
        tag("p", COLUMNS),
    )
    body = (_tools(ranked), _table(ranked), deck(out), words_section())
    return document("Restoration report", header, *body)


def _lead(entries: Sequence[ReportEntry]) -> str:
    states = Counter(entry.state for entry in entries)
    verdicts = Counter(entry.text("verdict") for entry in entries)
    ready = sum(n for state, n in states.items() if state not in UNPUBLISHED)
    parts = [f"{ready} ready"]
    look = [f"{verdicts[v]} {VERDICTS[v]}" for v in FLAGGED if verdicts[v]]
    parts[0] += f" ({', '.join(look)})" if look else ""
    parts += [f"{states[s]} {s}" for s in reversed(UNPUBLISHED) if states[s]]
    return f"{counted(len(entries), 'clip')}: {', '.join(parts)}."


def _tools(entries: Sequence[ReportEntry]) -> Html:
    """The search field, and a filter for each property in which the clips differ."""
    filters = {
        "Verdict": ("verdict", Counter(entry.text("verdict") for entry in entries)),
        "State": ("state", Counter(entry.state for entry in entries)),
        "Collection": ("collection", Counter(entry.text("collection") for entry in entries)),
        "Reason": ("reason", Counter(reason for entry in entries for reason in _reasons(entry))),
    }
    shown = [
        _filter(label, name, counts)
        for label, (name, counts) in filters.items()
        if len(counts) > 1 or name == "state"
    ]
    return tag(
        "div",
        tag("label", "Find", tag("input", type="search", id="find", autocomplete="off")),
        *shown,
        tag("span", id="shown", role="status"),
        class_="tools",
    )


def _reasons(entry: ReportEntry) -> list[str]:
    """The rules that a clip breaks, or the code of why it was not restored."""
    rules = [str(finding["rule"]) for finding in entry.findings] or [entry.text("verdict_rule")]
    return [reason for reason in (entry.text("reason"), *rules) if reason] or [""]


def _filter(label: str, name: str, counts: Mapping[str, int]) -> Html:
    options = [
        tag("option", f"{state_name(value) or '(none)'} ({count})", value=value or "-")
        for value, count in sorted(counts.items())
    ]
    choice = tag("select", tag("option", "all", value=""), *options, data_filter=name)
    return tag("label", label, choice)


def _table(entries: Sequence[ReportEntry]) -> Html:
    truth = any(e.number("ref_psnr_after_db") is not None for e in entries)
    heads = ["Clip", "What happened", "Largest repair", "Noise", "Flicker", "PSNR to source"]
    heads += ["PSNR gain"] if truth else []
    cells = [
        tag("th", tag("button", name, type="button"), scope="col", class_=_numeric(name))
        for name in heads
    ]
    rows = [_index_row(entry, rank, truth) for rank, entry in enumerate(entries)]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", tag("span", "Picture"), scope="col"), *cells)),
        tag("tbody", *rows),
        data_sortable=True,
    )
    return tag("div", table, class_="wide", tabindex=0, role="region", aria_label="Clips")


def _numeric(head: str) -> str | None:
    return None if head in ("Clip", "What happened") else "num"


def _index_row(entry: ReportEntry, rank: int, truth: bool) -> Html:
    href, folder = f"clips/{quote(entry.clip_id)}.html", f"clips/{quote(entry.clip_id)}"
    thumb = entry.pictures.thumbnail
    image: Part = tag(
        "img", src=f"{folder}/{quote(thumb)}", alt="", loading="lazy", class_="thumb"
    )  # no alternative text: the link beside it names the clip
    if not thumb:
        restricted = entry.text("access_class") in WITHOUT_PICTURES
        image = tag("small", f"no picture: {entry.text('access_class')}") if restricted else None
    facts = tag("div", tag("small", _facts(entry)))
    return tag(
        "tr",
        tag("td", image),
        tag("td", tag("a", entry.clip_id, href=href), facts, class_="clip", data_v=entry.clip_id),
        tag("td", badges(entry), _why(entry, href), class_="why", data_v=rank),
        _repair(entry),
        _change(entry, "Noise", "noise_sigma"),
        _change(entry, "Flicker", "flicker"),
        _fidelity(entry),
        _gain(entry) if truth else None,
        data_state=entry.state or "-",
        data_verdict=entry.text("verdict") or "-",
        data_reason=" ".join(_reasons(entry)) or "-",
        data_collection=entry.text("collection") or "-",
    )


def _facts(entry: ReportEntry) -> str:
    frames, size = entry.number("frames"), f"{entry.text('width')}x{entry.text('height')}"
    facts = [entry.text("collection"), f"{grouped(frames)} frames" if frames else ""]
    facts.append(size if entry.number("width") else "")
    return ", ".join(fact for fact in facts if fact)


def _why(entry: ReportEntry, href: str) -> Html | None:
    """Why the clip is flagged or was not published, in one sentence, and where it is proved."""
    if reason := entry.text("reason"):
        return tag("div", f"{reason}: {entry.text('sentence')}")
    frame, sentence = entry.number("verdict_frame"), entry.text("verdict_sentence")
    if not sentence and entry.number("frames_changed") == 0:
        return tag("div", "No frame differs from the source.")
    if not sentence or frame is None:
        return tag("div", sentence) if sentence else None
    link = tag("a", f"See frame {int(frame)}", href=f"{href}#frame-{int(frame)}")
    return tag("div", f"{sentence} ", link)


def _repair(entry: ReportEntry) -> Html:
    share, frame = repair_share(entry), entry.number("largest_repair_frame")
    if share is None or frame is None:
        return _cell("Largest repair", share, "")
    href = f"clips/{quote(entry.clip_id)}.html#frame-{int(frame)}"
    link = tag("a", f"frame {int(frame)}", href=href)
    return _cell("Largest repair", share, tag("span", f"{100 * share:.2f} % ", tag("small", link)))


def _fidelity(entry: ReportEntry) -> Html:
    value = entry.number("psnr_to_source_db")
    return _cell("PSNR to source", value, "" if value is None else decibels(value))


def _gain(entry: ReportEntry) -> Html:
    """Show the gain in PSNR, unless one of the two pictures is identical to the reference."""
    before, after = entry.number("ref_psnr_before_db"), entry.number("ref_psnr_after_db")
    gain = change(before, after)
    if before is None or after is None or gain is None:
        return _cell("PSNR gain", None, "")
    if max(before, after) >= PSNR_CAP_DB:
        words = "identical" if after >= PSNR_CAP_DB else "was identical"
        return _cell("PSNR gain", gain, words)
    return _cell("PSNR gain", gain, f"{gain:+.2f} dB")


def _change(entry: ReportEntry, head: str, name: str) -> Html:
    before, after = entry.number(f"{name}_before"), entry.number(f"{name}_after")
    if before is None or after is None:
        return _cell(head, None, "")
    shown = tag("span", tag("span", f"{before:.2f} → ", class_="was"), f"{after:.2f}")
    return _cell(head, after - before, shown)


def _cell(head: str, value: float | None, shown: Part) -> Html:
    v = "" if value is None else f"{value:g}"
    return tag("td", shown, class_="num", data_v=v, data_head=head)
