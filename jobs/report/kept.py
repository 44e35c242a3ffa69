"""The part of a clip's page about what was left on purpose, and what the program put back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jobs.console.html import Html, tag
from jobs.report.entry import ReportEntry, Row, counted

LEFT = {  # of tables/shots, `left`
    "flat": "an even surface, without a picture",
    "bars": "colour bars",
    "slate": "a slate or a leader",
    "asked": "the manifest asks to leave it",
    "clean": "it was found clean",
    "like_clean": "its repairs were as in clean film, so they were undone",
    "rule": "a rule of the verdict put the source back",
}
PUT_BACK = {
    "region": "The regions that break it were put back.",
    "shot": "The shot was put back.",
    "clip": "The whole clip was put back.",
}
MOST_NAMED = 8  # shots of one reason whose frames are named


def kept_section(entry: ReportEntry) -> Html | None:
    """What is the source's, and why; None if there is nothing to say."""
    lines = [_left(reason, shots) for reason, shots in _by_reason(entry.shots).items()]
    lines += [
        f"{finding['sentence']} {PUT_BACK.get(str(finding['put_back']), '')}"
        for finding in entry.put_back
    ]
    if frames := entry.number("frames_put_back"):
        lines.append(f"The program put source pixels back in {counted(frames, 'frame')}.")
    if frames := entry.number("frames_reverted"):
        lines.append(f"A person put source pixels back in {counted(frames, 'frame')}.")
    if not lines:
        return None
    head = tag("h2", "Left on purpose, and put back")
    return tag("section", head, tag("ul", *(tag("li", line) for line in lines)))


def _by_reason(shots: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for shot in shots:
        if shot["left"]:
            found[str(shot["left"])].append(shot)
    return found


def _left(reason: str, shots: Sequence[Row]) -> str:
    places = ", ".join(f"{s['start']} to {int(str(s['stop'])) - 1}" for s in shots[:MOST_NAMED])
    more = f" and {len(shots) - MOST_NAMED} more" if len(shots) > MOST_NAMED else ""
    why = LEFT.get(reason, reason.replace("_", " "))
    return f"{counted(len(shots), 'shot')} left as in the source: {why} (frames {places}{more})."
