"""The page of the fleet: all clips and all nights together."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from jobs.console.html import Html, Part, tag
from jobs.console.output import clock, grouped
from jobs.report.entry import Row, badge, card, counted, css_class, document, state_name
from jobs.report.fleet.canaries import canaries_section
from jobs.report.fleet.charts import amount, bar, changed, distribution, drift_charts, night, stack
from jobs.report.fleet.data import DRIFTING, Fleet, Spread
from jobs.report.fleet.tables import scrolling_table
from jobs.report.words import words_section
from schemas.verdict_rules import MEASURES

PARTS = ("fail", "needs_review", "pass", "untouched", "not_restored")
MEASURE_NAMES = {
    "out_of_step": "Looks like another frame", "largest_change": "Largest region changed",
    "shared_detail_kept": "Detail kept that the frames beside it share",
    "detail_kept": "Detail kept in the worst part", "pixels_changed": "Pixels changed strongly",
    "chroma_shift": "Shift of colour", "texture_added": "Texture or noise added in a part",
    "edges_kept": "Strength of edges kept", "noise_added": "Noise added",
    "blur_added": "Softness added", "blocks_added": "Blocks added",
    "luma_shift": "Shift of brightness", "psnr_to_source_db": "PSNR to source",
    "ssim_to_source": "SSIM to source",
}  # fmt: skip


def fleet_page(found: Fleet, out: str, written: str) -> str:
    """The page as HTML."""
    header = tag(
        "header",
        tag("nav", tag("a", "All clips", href="index.html"), aria_label="Pages"),
        tag("h1", "All clips and nights together"),
        tag("p", _lead(found), class_="lead"),
        tag("p", f"{out} · written {written}"),
    )
    parts = [_nights(found), _reasons(found), _spreads(found.spreads), canaries_section(found)]
    parts += [_drift(found), _throughput(found), _costs(found), words_section()]
    return document("All clips and nights together", header, *parts)


def _lead(found: Fleet) -> str:
    row = found.waiting[0] if found.waiting else {}
    clips = int(str(row.get("clips") or 0))
    if not clips:
        return "No clip waits for a review."
    verb = "waits" if clips == 1 else "wait"
    return f"{counted(clips, 'clip')} {verb} for a review, the oldest since {night(row)}."


def _nights(found: Fleet) -> Html | None:
    if not found.nights:
        return None
    rows = []
    for row in found.nights:
        counts = {name: int(str(row[name])) for name in PARTS}
        where = _filtered(str(row["collection"]), collection=str(row["collection"]))
        rows.append(
            [str(row["run_date"]), where, stack(counts), *(grouped(n) if n else "" for n in
             counts.values()), grouped(float(str(row["clips"])))]
        )  # fmt: skip
    heads = ["night", "collection", "verdicts", *(state_name(name) for name in PARTS), "clips"]
    key: list[Part] = [
        tag("li", tag("span", "■", class_=f"ink-{css_class(name)}", aria_hidden="true"),
            f" {state_name(name)}")
        for name in PARTS
    ]  # fmt: skip
    return tag(
        "section", tag("h2", "Verdicts by night and collection"), tag("ul", *key, class_="key"),
        scrolling_table("Verdicts by night and collection", heads, rows, words=3),
    )  # fmt: skip


def _filtered(words: str, **filters: str) -> Html:
    """A link to the clips of the index that have these values."""
    return tag("a", words, href=f"index.html#{urlencode(filters)}")


def _reasons(found: Fleet) -> Html:
    head = tag("h2", "Why clips were flagged or not restored")
    if not found.reasons:
        return tag(
            "section", head, tag("p", "No rule found anything, and every clip was restored.")
        )
    total = sum(int(str(row["clips"])) for row in found.reasons)
    most, so_far, rows = int(str(found.reasons[0]["clips"])), 0, []
    for row in found.reasons:
        clips = int(str(row["clips"]))
        so_far += clips
        name, kind = str(row["reason"]), str(row["verdict"])
        style, shown = css_class(kind), name.replace("_", " ") if name.islower() else name
        rows.append(
            [_filtered(shown, reason=name), badge(kind), bar(clips / most, style), grouped(clips),
             f"{so_far / total:.0%}"]
        )  # fmt: skip
    note = (
        "The most frequent first. A clip counts once for each rule. Select a reason for its clips."
    )
    heads = ["reason", "what follows", "how often", "clips", "so far"]
    return tag("section", head, tag("p", note), scrolling_table("Reasons", heads, rows, words=3))


def _spreads(spreads: Sequence[Spread]) -> Html | None:
    if not spreads:
        return None
    note = (
        "Each clip counts with its worst frame. The curve rises from no clip at the bottom to all "
        "clips at the top; the dashed line is the limit of the rule."
    )
    cards = [_spread(spread) for spread in spreads]
    head = tag("h2", "How the clips lie, and the limits")
    return tag("section", head, tag("p", note), tag("div", *cards, class_="grid"))


def _spread(spread: Spread) -> Html:
    rule, unit = spread.rule, MEASURES[spread.rule.measure]
    side = "above" if rule.below is None else "below"
    middle = spread.values[len(spread.values) // 2]
    words = (
        f"Median {amount(middle, unit)}. {counted(spread.beyond, 'clip')} of "
        f"{grouped(spread.clips)} {side} the limit of {amount(rule.limit, unit)}."
    )
    name = MEASURE_NAMES.get(rule.measure, state_name(rule.measure))
    shown: Part = words
    if spread.beyond:
        shown = tag("span", words, " ", _filtered("See them", reason=rule.name))
    title = f"{name}: {words}"
    return tag("div", tag("h3", name), distribution(spread, title), tag("p", shown), class_="card")


def _drift(found: Fleet) -> Html:
    head, runs = tag("h2", "Drift from run to run"), found.runs
    if len(runs) < 2:
        return tag("section", head, tag("p", "One run so far: there is nothing to compare."))
    note = (
        "A dot is the median of the clips that a run restored, its line the middle half of them. A "
        "dashed line marks a change of the version."
    )
    charts = drift_charts(runs, DRIFTING)
    return tag("section", head, tag("p", note), charts, tag("h3", "What changed"), changed(runs))


def _throughput(found: Fleet) -> Html | None:
    if not found.runs:
        return None
    rows = []
    for run in reversed(found.runs):
        seconds, frames, footage = (_number(run, n) for n in ("seconds", "done", "footage"))
        cpu, gpu = _number(run, "cpu"), _number(run, "gpu")
        rows.append(
            [str(run["run"]), str(run["recipe"] or ""), grouped(_number(run, "made")),
             grouped(frames), clock(seconds) if seconds else "",
             f"{frames / seconds:.2f}" if seconds else "", f"{cpu / 3600:.2f}",
             f"{gpu / 3600:.2f}", f"{(cpu + gpu) / footage:.1f}" if footage else ""]
        )  # fmt: skip
    heads = ["run", "recipe", "clips", "frames", "time", "frames a second", "CPU hours"]
    heads += ["GPU hours", "working time for each second of film, s"]
    head = tag("h2", "Throughput")
    return tag("section", head, scrolling_table("Throughput of each run", heads, rows, words=2))


def _costs(found: Fleet) -> Html | None:
    if not found.costs:
        return None
    columns = {"clips": "clips", "restorations": "restorations", "hours": "hours of film",
               "cpu_hours": "CPU hours", "gpu_hours": "GPU hours",
               "hours_per_hour": "working hours for an hour of film",
               "source_gb": "sources, GB", "output_gb": "restored, GB"}  # fmt: skip
    rows = [
        [str(row["collection"] or "(none)"), *(_cost(row, column) for column in columns)]
        for row in found.costs
    ]
    table = scrolling_table("Cost of each collection", ["collection", *columns.values()], rows)
    return card("Cost of each collection", table)


def _cost(row: Row, column: str) -> str:
    value = _number(row, column)
    return grouped(value) if column in ("clips", "restorations") else f"{value:.3g}"


def _number(row: Row, column: str) -> float:
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else 0.0
