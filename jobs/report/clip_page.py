"""The page of a clip: pictures before and after, summary, measures, times and checksums."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from jobs.console.html import Html, Part, join, tag
from jobs.console.output import grouped
from jobs.report.curves.plots import curves_section
from jobs.report.decide import access_section
from jobs.report.entry import (
    ReportEntry,
    badge,
    badges,
    card,
    change,
    counted,
    css_class,
    decibels,
    document,
    percent,
)
from jobs.report.frames_section import frames_section
from jobs.report.kept import kept_section
from jobs.report.lost import lost_section
from jobs.report.measures import MEASURES, SCORES, change_in_words, fall
from jobs.report.player import player_section
from jobs.report.regions import regions_section
from jobs.report.timings import timings
from jobs.report.words import commands_section, words_section
from pipeline.clip.clip import WITHOUT_PICTURES
from pipeline.detect.metrics import PSNR_CAP_DB
from schemas import strict_json
from schemas.colour_names import ColourKind, colour_name
from schemas.reasons import REASONS, Reason

COLOURS: dict[str, tuple[str, ColourKind]] = {  # column, and table of names
    "Signal range": ("color_range", "range"),
    "Colour primaries": ("color_primaries", "primaries"),
    "Transfer characteristic": ("color_trc", "transfer"),
    "Colour matrix": ("colorspace", "matrix"),
}
SCORES_NOTE = "PSNR (dB) and SSIM (at most 1): the higher, the closer."


def clip_page(entry: ReportEntry, previous: str, following: str, out: str = "OUT") -> str:
    sections = [
        _review(entry),
        _verdict(entry),
        lost_section(entry),
        _reason(entry),
        _withheld(entry),
        access_section(entry, out),
    ]
    sections += [player_section(entry), frames_section(entry), regions_section(entry, out)]
    sections += [kept_section(entry), commands_section(entry, out), curves_section(entry)]
    cards = [_measures(entry), _against_truth(entry), timings(entry)]
    cards += [_technical(entry), _identity(entry)]
    shown = [card for card in cards if card is not None]
    sections.append(tag("section", *shown, class_="cards"))
    sections += [words_section(), _raw(entry)]
    style = f":root{{--ratio:{entry.pictures.ratio or 4 / 3:.5f}}}\n"
    header = _header(entry, previous, following)
    return document(f"{entry.clip_id} · restoration report", header, *sections, style=style)


def _header(entry: ReportEntry, previous: str, following: str) -> Html:
    links: list[Part] = [tag("a", "All clips", href="../index.html")]
    links.append(
        tag("a", f"Previous: {previous}", href=f"{quote(previous)}.html") if previous else None
    )
    links.append(
        tag("a", f"Next: {following}", href=f"{quote(following)}.html") if following else None
    )
    return tag(
        "header",
        tag("nav", *links, aria_label="Pages"),
        tag("div", tag("h1", entry.clip_id), badges(entry), class_="title"),
        tag("p", what_was_done(entry), class_="lead"),
        tag("p", f"Notes: {notes}", class_="notes") if (notes := entry.text("notes")) else None,
    )


def _reason(entry: ReportEntry) -> Html | None:
    code = entry.text("reason")
    if not code:
        return None
    info = REASONS[Reason(code)] if code in Reason.__members__ else None
    return tag(
        "section",
        tag("p", tag("strong", code), f" {entry.text('sentence')}"),
        tag("p", info.meaning) if info else None,
        tag("p", tag("strong", "Next step: "), info.next_step) if info else None,
        class_=f"notice {css_class(entry.state)}",
    )


def _verdict(entry: ReportEntry) -> Html | None:
    """Why the clip is suspicious: a sentence for each finding, with the frame that proves it."""
    if not entry.findings:
        return None
    lines = [
        tag(
            "li",
            badge(str(f["verdict"])),
            f" {f['sentence']} ",
            _to_frame(entry, int(str(f["frame"]))),
        )
        for f in entry.findings
    ]
    style = f"notice {css_class(entry.text('verdict'))}"
    return tag("section", tag("h2", "Why to look at it"), tag("ul", *lines), class_=style)


def _review(entry: ReportEntry) -> Html | None:
    """What a person decided last, and whether this version was meant."""
    if entry.review is None:
        return None
    row = entry.review
    note = f": {row['note']}" if row["note"] else ""
    older = "" if entry.decision else " It was about an earlier version of the file."
    words = f"Reviewed by {row['by']} on {str(row['at'])[:10]}: {row['decision']}{note}.{older}"
    return tag("section", tag("p", words), class_="notice held")


def _to_frame(entry: ReportEntry, frame: int) -> Html | None:
    if str(frame) not in entry.pictures.frames:
        return None
    return tag("a", f"See frame {frame}", href=f"#frame-{frame}")


def _withheld(entry: ReportEntry) -> Html | None:
    """What the page does not show, and what is not restored."""
    lines = list(entry.unrestored)
    if entry.text("access_class") in WITHOUT_PICTURES:
        lines.append(
            f"The clip is {entry.text('access_class')}: the report shows no picture of it."
        )
    elif entry.text("output_uri") and not entry.pictures.frames:
        lines.append("No pictures: the source or the restored file could not be read.")
    if not lines:
        return None
    return tag("section", *(tag("p", line) for line in lines), class_="notice held")


def what_was_done(entry: ReportEntry) -> str:
    """Describe the restoration in plain words, from recorded numbers only."""
    if not entry.text("output_uri"):
        return f"Nothing was published; the source is unchanged. {entry.text('sentence')}".strip()
    frames, shots = entry.number("frames"), entry.number("shots")
    parts = [f"{grouped(frames)} frames" if frames else "The clip"]
    parts[0] += f" in {counted(int(shots), 'shot')}" if shots else ""
    parts[0] += f" restored with the model “{entry.text('model')}”" if entry.text("model") else ""
    parts += [words for name in ("noise_sigma", "flicker") if (words := fall(entry, name))]
    parts += [words for words in (_exposure(entry), _defects(entry)) if words]
    kept = entry.number("psnr_to_source_db")
    sentence = "; ".join(parts) + "."
    if kept is not None:
        sentence += (
            " Result and source are identical."
            if kept >= PSNR_CAP_DB
            else f" PSNR between result and source: {decibels(kept)}."
        )
    return sentence


def _exposure(entry: ReportEntry) -> str:
    low, high = entry.number("exposure_gain_min"), entry.number("exposure_gain_max")
    if low is None or high is None or low == high == 1:
        return ""
    return f"brightness corrected by {percent(low - 1)} to {percent(high - 1)}"


def _defects(entry: ReportEntry) -> str:
    share = entry.number("defect_share")
    return f"{share:.2%} of the pixels repaired as defects" if share else ""


def _rows_table(heads: list[str], rows: list[list[Part]]) -> Html:
    top = [tag("th", h, scope="col", class_="num" if i else None) for i, h in enumerate(heads)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", v, class_="num") for v in row[1:]))
        for row in rows
    ]
    return tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body))


def _measures(entry: ReportEntry) -> Html | None:
    """Show measures without a reference. A smaller value is not always better: people judge."""
    rows: list[list[Part]] = []
    for name, (label, unit) in MEASURES.items():
        before, after = entry.number(f"{name}_before"), entry.number(f"{name}_after")
        if before is None or after is None:
            continue
        share = change_in_words(name, before, after)
        rows.append(
            [join([label, " ", tag("small", unit)]), f"{before:.3f}", f"{after:.3f}", share]
        )
    if not rows:
        return None
    kept = [entry.number("psnr_to_source_db"), entry.number("ssim_to_source")]
    return card(
        "Measures", _rows_table(["measure", "before", "after", "change"], rows), _kept(*kept)
    )


def _kept(psnr: float | None, ssim: float | None) -> Html | None:
    """Show how similar the clip is to its source."""
    if psnr is None or ssim is None:
        return None
    if psnr >= PSNR_CAP_DB:
        return tag("p", "The clip is identical to its source.")
    words = f"PSNR {decibels(psnr, 2)}, SSIM {ssim:.4f}. {SCORES_NOTE}"
    return tag("p", f"Similarity to the source: {words}")


def _against_truth(entry: ReportEntry) -> Html | None:
    """Show scores against the clean reference, if the manifest names one."""
    rows: list[list[Part]] = []
    for name, (label, suffix, unit) in SCORES.items():
        before = entry.number(f"ref_{name}_before{suffix}")
        after = entry.number(f"ref_{name}_after{suffix}")
        gain = change(before, after)
        if before is not None and after is not None and gain is not None:
            values = [f"{before:.4f}", f"{after:.4f}", f"{gain:+.4f}"]
            if unit:
                values = [decibels(before, 2), decibels(after, 2), f"{gain:+.2f} dB"]
                if max(before, after) >= PSNR_CAP_DB:
                    values[2] = ""
            rows.append([label, *values])
    table = _rows_table(["measure", "before", "after", "gain"], rows)
    note = tag("p", SCORES_NOTE)
    return card("Compared with the clean reference", table, note) if rows else None


def _facts(facts: Mapping[str, Part]) -> Html:
    pairs = [(tag("dt", k), tag("dd", v)) for k, v in facts.items() if v not in ("", None)]
    return tag("dl", *(part for pair in pairs for part in pair))


def _colour(entry: ReportEntry, column: str, kind: ColourKind) -> str:
    """Return what the source declares about its colours, in words."""
    code = entry.text(column)
    return colour_name(kind, code) if code.isdecimal() else code


def _technical(entry: ReportEntry) -> Html | None:
    number = entry.number
    fps, per = number("fps_num"), number("fps_den")
    rate = f"{fps / per:.3f} ({fps:.0f}/{per:.0f})" if fps and per else ""
    size = f"{entry.text('width')} x {entry.text('height')}" if number("width") else ""
    facts: dict[str, Part] = {
        "Size": size,
        "Frames": grouped(number("frames")),
        "Frames per second": rate,
        "Pixel format": entry.text("pix_fmt"),
        **{name: _colour(entry, *column) for name, column in COLOURS.items()},
        "Interlacing": entry.text("conversion") or entry.text("interlace"),
        "Missing frames": entry.text("gaps"),
        "Shots": entry.text("shots"),
        "Parts restored separately": entry.text("shards"),
        **entry.pictures.streams,
    }
    return card("Picture and sound", _facts(facts)) if any(facts.values()) else None


def _identity(entry: ReportEntry) -> Html:
    def mono(column: str) -> Part:
        return tag("code", entry.text(column)) if entry.text(column) else ""

    output: Part = mono("output_uri")
    if entry.output_link and entry.text("output_uri"):
        output = tag("a", entry.text("output_uri"), href=entry.output_link)
    facts: dict[str, Part] = {
        "Source": mono("source_uri"),
        "Source SHA-256": mono("source_sha256"),
        "Restored file": output,
        "Restored SHA-256": mono("output_sha256"),
        "Model": entry.text("model"),
        "Weights SHA-256": mono("weights_sha256"),
        "Recipe SHA-256": mono("recipe_sha256"),
        "Run": entry.text("run"),
    }
    return card("Identity", _facts(facts), tag("p", _citation(entry)))


def _citation(entry: ReportEntry) -> str:
    """How to cite the restored file, so that nobody takes it for the original."""
    if not entry.text("output_uri"):
        return ""
    model, day = entry.text("model"), entry.text("run")[:8]
    return (
        f"How to cite: {entry.clip_id}, restored copy, SHA-256 {entry.text('output_sha256')[:16]}; "
        f"made by archive-restore with the model {model}, recipe "
        f"{entry.text('recipe_sha256')[:12]}, {day[:4]}-{day[4:6]}-{day[6:]}. Name the source as "
        "well: the restored copy is not a substitute for it."
    )


def _raw(entry: ReportEntry) -> Html:
    text = strict_json.dumps(entry.row, indent=1, default=str, ensure_ascii=False)
    return tag(
        "section", tag("details", tag("summary", "The clip's row in the tables"), tag("pre", text))
    )
