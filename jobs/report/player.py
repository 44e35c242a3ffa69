"""The part of a clip's page that plays source and restored together, frame by frame."""

from __future__ import annotations

from urllib.parse import quote

from jobs.console.html import Html, Part, tag
from jobs.report.entry import ReportEntry
from jobs.report.film import spans_to_show
from schemas import strict_json

CHANGES = {"map": "Change map", "difference": "Change, 4 times as strong"}
SPEEDS = {"1": "normal", "0.5": "half", "0.25": "a quarter"}
KEYS = (
    ("space", "play or pause"), (",", "one frame back"), (".", "one frame on"),
    ("v", "next view"), ("z", "1:1"),
)  # fmt: skip


def player_section(entry: ReportEntry) -> Html | None:
    """The player; None if the clip has no film."""
    film = entry.pictures.film
    if not film.get("file"):
        return None
    frames = [frame for part in film["ranges"] for frame in part]
    first, last = min(frames), max(frames) - 1
    return tag(
        "section",
        tag("h2", "Play source and restored together"),
        tag("p", _about(entry, film)),
        _stage(entry, film),
        _controls(entry, film, first, last),
        _keys(),
        tag(
            "video", src=f"{quote(entry.clip_id)}/{quote(film['file'])}", preload="auto",
            muted=True, playsinline=True, hidden=True,
        ),
        id="player",
        class_="player",
        data_film=strict_json.dumps(film),
    )  # fmt: skip


def _about(entry: ReportEntry, film: dict[str, object]) -> str:
    scale = float(str(film["scale"]))
    size = "" if scale == 1 else f" at {scale:.0%} of its size"
    return (
        f"A small copy of the clip{size}: fine grain is coded away, so judge it by the pictures "
        "below. Both sides are in one film and cannot get out of step."
    )


def _stage(entry: ReportEntry, film: dict[str, object]) -> Html:
    canvas = tag(
        "canvas", width=str(film["width"]), height=str(film["height"]), role="img",
        aria_label=f"Film of {entry.clip_id}, source and restored",
    )  # fmt: skip
    return tag(
        "div",
        tag("div", canvas, class_="screen"),
        tag("span", "source", class_="side left"),
        tag("span", "restored", class_="side right"),
        class_="stage",
        tabindex=0,
        role="group",
        aria_label="Player. Space plays, comma and full stop step by one frame",
    )


def _controls(entry: ReportEntry, film: dict[str, object], first: int, last: int) -> Html:
    views = {
        "wipe": "Wipe: source left, restored right", "both": "Side by side", "source": "Source",
        "restored": "Restored", "change": CHANGES[str(film["change"])],
    }  # fmt: skip
    parts = [
        tag("option", f"{span.words} ({span.start} to {span.stop - 1})",
            value=f"{span.start}:{span.stop}")
        for span in spans_to_show(entry)
    ]  # fmt: skip
    at = tag("input", type="number", min=first, max=last, value=first, data_is="at")
    loop = tag("input", type="checkbox", checked=True, data_is="loop")
    return tag(
        "div",
        tag("button", "Play", type="button", data_do="play"),
        tag("button", "‹ Frame", type="button", data_do="back", aria_label="One frame back"),
        tag("button", "Frame ›", type="button", data_do="on", aria_label="One frame on"),
        _label("Frame", at),
        _label("Part", tag("select", *parts, data_is="part")),
        _label("Show", _choice(views, "view")),
        _label("Border", tag("input", type="range", min=0, max=100, value=50, data_is="border")),
        _label("Speed", _choice(SPEEDS, "speed")),
        tag("label", loop, " repeat the part", class_="check"),
        tag("label", tag("input", type="checkbox", data_is="zoom"), " 1:1", class_="check"),
        tag("output", data_is="told"),
        class_="tools",
    )  # fmt: skip


def _label(words: str, control: Html) -> Html:
    return tag("label", words, control)


def _choice(options: dict[str, str], name: str) -> Html:
    found = [tag("option", words, value=value) for value, words in options.items()]
    return tag("select", *found, data_is=name)


def _keys() -> Html:
    parts: list[Part] = ["Keys, when the picture or a control is selected: "]
    for number, (key, words) in enumerate(KEYS):
        parts += ["; " if number else "", tag("kbd", key), f" {words}"]
    return tag("p", *parts, ".", class_="keys")
