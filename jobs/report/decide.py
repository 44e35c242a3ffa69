"""The part of a page in which a reader collects decisions, to be saved as one file.

Without scripts nothing of it is shown. The commands beside it do the same one by one.
"""

from __future__ import annotations

import shlex

from jobs.console.html import Html, Part, tag
from jobs.report.entry import MADE, ReportEntry

CHOICES = {
    "": "none",
    "accept": "accept: the clip is right",
    "question": "question: somebody else has to look",
    "rerun": "rerun: restore it again",
    "revert": "revert: put the whole source back",
}


def access_section(entry: ReportEntry, out: str) -> Html | None:
    """What a decision does to the access copy; None if the clip has none that waits for one."""
    if not entry.access:
        return None
    if entry.access == MADE:
        who = (
            f"{entry.review['by']} accepted" if entry.decision == "accept" and entry.review else ""
        )
        name = (
            tag("a", "access copy", href=entry.access_link) if entry.access_link else "access copy"
        )
        words: list[Part] = [
            "The ", name, f" of this clip was made when {who or 'a person accepted'} the clip. "
            "It is deleted if the clip is no longer accepted: by a revert, a rerun or a question.",
        ]  # fmt: skip
        return tag("section", tag("h2", "Access copy"), tag("p", *words), class_="notice held")
    command = f"review accept {shlex.quote(entry.clip_id)} --by NAME --out {shlex.quote(out)}"
    return tag(
        "section",
        tag("h2", "Access copy: it waits for you"),
        tag(
            "p",
            "The master is published. The access copy, the small film for readers, is not made "
            "yet: the recipe of this clip asks that a person accepts the clip first. This command "
            "accepts it and makes the copy:",
        ),
        tag("p", tag("code", f"archive-restore {command}", tabindex=0)),
        class_="notice held",
    )


def decide_form(entry: ReportEntry) -> Html:
    """The decision about a whole clip, and a note for all decisions of its page."""
    options = [tag("option", words, value=value) for value, words in CHOICES.items()]
    return tag(
        "div",
        tag("label", "Decision", tag("select", *options, autocomplete="off")),
        tag(
            "label",
            "Why, for all decisions on this page",
            tag("input", type="text", maxlength=1000, autocomplete="off"),
        ),
        class_="tools decide",
        hidden=True,
        data_clip=entry.clip_id,
        data_seen=entry.text("output_sha256"),
    )


def decide_region(region: str, decision: str, words: str) -> Html:
    """A box to tick, for one region of a clip."""
    box = tag(
        "input", type="checkbox", data_region=region, data_decision=decision, autocomplete="off"
    )
    return tag("label", box, f" {words}", class_="check", hidden=True)


def deck(out: str) -> Html:
    """How many decisions are kept, and the buttons that save and forget them."""
    buttons: list[Part] = [
        tag("button", "Save decisions", type="button", data_do="save", disabled=True),
        tag("button", "Forget all", type="button", data_do="forget", disabled=True),
    ]
    command = f"archive-restore review --decisions FILE --by NAME --out {shlex.quote(out)}"
    return tag(
        "section",
        tag("div", tag("output", role="status"), *buttons, class_="tools"),
        tag("p", "Apply a saved file: ", tag("code", command)),
        class_="deck",
        aria_label="Decisions that are kept",
        hidden=True,
    )
