"""The part of a clip's page with its frames: source, restored and change in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from jobs.console.html import Html, Part, join, tag
from jobs.report.entry import ReportEntry
from jobs.report.stills import DIFFERENCE_GAIN
from jobs.report.worst import Box, Shown, frames_to_show

CAPTIONS = {
    "source": "Source",
    "restored": "Restored",
    "difference": f"Change, {DIFFERENCE_GAIN} times as strong. Grey: none.",
    "map": "Change map: why a pixel changed",
}
_KEY = (
    ("adjusted", "exposure, grain or coding"),
    ("repaired", "repaired as a defect"),
    ("filled", "frame filled in"),
)


def frames_section(entry: ReportEntry) -> Html | None:
    """Rows of pictures, the most suspicious first; None if the clip has no pictures."""
    if not entry.pictures.frames:
        return None
    rows = [
        _row(entry, shown, entry.pictures.frames[str(shown.frame)])
        for shown in frames_to_show(entry)
        if str(shown.frame) in entry.pictures.frames
    ]
    mapped = any("map" in names for names in entry.pictures.frames.values())
    return tag(
        "section",
        tag("h2", "Before and after"),
        tag(
            "p",
            "The most suspicious frames come first; beginning, middle and end are always shown. "
            "A box marks the place. Select a picture to see it at its own size.",
        ),
        _map_key() if mapped else None,
        *rows,
    )


def _map_key() -> Html:
    parts: list[Part] = ["In the change map: "]
    for kind, words in _KEY:
        parts += [tag("span", "■", class_=f"map-{kind}", aria_hidden="true"), f" {words}; "]
    return tag("p", *parts, "the stronger the colour, the larger the change.", class_="map-key")


def _row(entry: ReportEntry, shown: Shown, names: Mapping[str, str]) -> Html:
    folder = quote(entry.clip_id)
    files = {kind: f"{folder}/{quote(names[kind])}" for kind in CAPTIONS if kind in names}
    figures = [_figure(entry, shown, kind, file) for kind, file in files.items()]
    why = "; ".join(shown.why)
    return tag(
        "div",
        tag("h3", f"Frame {shown.frame}", tag("small", f" {why}"), _play(entry, shown.frame)),
        *figures,
        tag(
            "details",
            tag("summary", f"Slide between source and restored, frame {shown.frame}"),
            _slider(shown.frame, files),
        ),
        class_="frame-row four" if len(figures) == len(CAPTIONS) else "frame-row",
        id=f"frame-{shown.frame}",
    )


def _play(entry: ReportEntry, frame: int) -> Html | None:
    """A link to the frame in the player; None if the film lacks it."""
    film = entry.pictures.film
    if not any(start <= frame < stop for start, stop in film.get("ranges", [])):
        return None
    words = tag("small", f"Play from frame {frame}")
    return join([" ", tag("a", words, href="#player", data_frame=frame)])


def _figure(entry: ReportEntry, shown: Shown, kind: str, file: str) -> Html:
    name = CAPTIONS[kind].partition(",")[0].partition(":")[0].lower()
    alt = f"Frame {shown.frame}, {name}"
    picture = tag("img", src=file, alt=alt, class_="still", loading="lazy")
    return tag(
        "figure",
        tag("a", picture, _boxes(entry, shown.boxes), href=file, class_="boxed"),
        tag("figcaption", CAPTIONS[kind]),
    )


def _boxes(entry: ReportEntry, boxes: Sequence[Box]) -> Html | None:
    width, height = entry.text("width"), entry.text("height")
    if not boxes or not width or not height:
        return None
    drawn = [
        tag("rect", x=x - 3, y=y - 3, width=across + 6, height=down + 6)
        for x, y, across, down in boxes
    ]
    return tag(
        "svg",
        *drawn,
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        class_="boxes",
        aria_hidden="true",
    )


def _slider(frame: int, files: Mapping[str, str]) -> Html:
    """Both pictures on top of each other, with a border to drag. The rows have their texts."""
    pictures = [("restored", "still"), ("source", "still over")]
    return tag(
        "div",
        *(
            tag("img", src=files[kind], alt="", class_=style, loading="lazy")
            for kind, style in pictures
        ),
        tag("span", "source", class_="side left"),
        tag("span", "restored", class_="side right"),
        tag("span", "⇔", class_="grip", aria_hidden="true"),
        tag("input", type="range", min=0, max=100, value=50, aria_label=f"Border in frame {frame}"),
        class_="compare",
    )
