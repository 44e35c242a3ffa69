"""The part of a clip's page that says what a decision costs: what is lost, and what is kept."""

from __future__ import annotations

from jobs.console.html import Html, tag
from jobs.console.output import grouped
from jobs.report.entry import ReportEntry, counted
from jobs.report.measures import fall


def lost_section(entry: ReportEntry) -> Html | None:
    """What is lost by either decision; None if nothing was published or nothing was changed."""
    if not entry.text("output_uri") or entry.number("frames_changed") == 0:
        return None
    return tag(
        "section",
        tag("h2", "What you would lose"),
        tag(
            "dl",
            tag("dt", "If you accept"), tag("dd", _accepted(entry)),
            tag("dt", "If you put the source back"), tag("dd", _put_back(entry)),
            class_="either",
        ),
        id="lost",
    )  # fmt: skip


def _accepted(entry: ReportEntry) -> str:
    changed, frames = entry.number("frames_changed"), entry.number("frames")
    share, repaired = entry.number("share_changed"), entry.number("share_repaired")
    words = "The restored file shows the restored pixels"
    if changed is not None and frames:
        words += f" in {grouped(changed)} of {counted(frames, 'frame')}"
    details = []
    if share is not None:
        details.append(f"{share:.1%} of all pixels differ from the source")
    if repaired:
        details.append(f"{repaired:.2%} were repaired as defects")
    words += f": {', '.join(details)}." if details else "."
    if (frame := entry.number("largest_repair_frame")) is not None:
        words += f" If a repair erased something real, it is most likely in frame {int(frame)}."
    return f"{words} Nothing is lost for good: the source file is as it was."


def _put_back(entry: ReportEntry) -> str:
    regions = int(entry.number("regions_repaired") or 0)
    gains = [words for name in ("noise_sigma", "flicker") if (words := fall(entry, name))]
    gains = [words for words in gains if "less" in words]
    if regions:
        gains.append(f"the repair of {counted(regions, 'place')} in all frames")
    if not gains:
        return "No gain that was measured."
    return f"{', '.join(gains)}. A part can be put back as well: a shot, frames or a region."
