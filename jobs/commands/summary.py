"""What happened in the newest run, for a mail or a webhook: counts first, then what is new."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from jobs.console import html, output
from jobs.console.options import Json, Out, Webhook
from jobs.monitor.webhook import post
from pipeline.runs.events import Event

SHOWN = 20  # clips named one by one
READY = ("published", "up_to_date", "untouched")

Facts = dict[str, Any]


class Format(StrEnum):
    """How the summary is written."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


def summary(
    out: Out,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    webhook: Webhook = None,
    as_json: Json = False,
) -> None:
    """Sum up the newest run, for a mail or a webhook.

    How many clips are ready, which did not end well for the first time, which were known, and where
    the report is.

    \b
    Example:
        archive-restore summary --out restored --format html
    """
    facts = read_summary(out)
    if webhook is not None:
        post(webhook, message(facts))
    if as_json or form is Format.JSON:
        output.emit(facts)
    else:
        output.say(describe(facts) if form is Format.TEXT else markup(facts))


def deliver(url: str, out: str, result: Facts, report: output.Report) -> None:
    """Post the summary of the run that has just ended; trouble is told and changes nothing."""
    try:
        known = {name: result[name] for name in ("seconds", "exit_code")}
        post(url, message(read_summary(out) | known))
    except Exception as error:  # whatever it is, the run has its result
        report(Event(kind="log", sentence=" ".join(str(error).split())))


def message(facts: Facts) -> Facts:
    """What a webhook gets: the facts, and the text that chat programs show."""
    return {"text": describe(facts), **facts}


def read_summary(out: str) -> Facts:
    """The facts of the newest run. Raises ArchiveError where there is none."""
    from jobs.commands.status import read_status
    from pipeline.runs.quarantine import cases
    from pipeline.store import storage

    status = read_status(out)
    run, clips = str(status["run"]), cast(dict[str, int], status["clips"])
    found = [case.facts() for case in cases(out)]
    index = storage.join(out, "report", "index.html")
    names = ("run", "state", "started", "out", "frames")
    return {
        **{name: status[name] for name in names},
        "seconds": status.get("seconds"), "exit_code": status.get("exit_code"),
        "ready": sum(clips.get(state, 0) for state in READY), "total": sum(clips.values()),
        "clips": clips,
        "new": [case for case in found if case["since_run"] == run],
        "known": dict(Counter(str(c["reason"]) for c in found if c["since_run"] != run)),
        "report": index if storage.exists(index) else None,
    }  # fmt: skip


def describe(facts: Facts) -> str:
    """The summary as plain text."""
    lines = [headline(facts), *_facts(facts)]
    new = facts["new"]
    if new:
        lines += ["", f"New, {len(new)}:", *(f"  {_told(case)}" for case in new[:SHOWN])]
        lines += [f"  and {len(new) - SHOWN} more"] if len(new) > SHOWN else []
    if facts["known"]:
        lines += ["", f"Known from earlier runs: {_counts(facts['known'])}"]
    return "\n".join([*lines, "", *_links(facts)])


def headline(facts: Facts) -> str:
    """The first line, and the subject of a mail: counts."""
    return f"{facts['ready']} of {facts['total']} ready"


def markup(facts: Facts) -> str:
    """The summary as HTML that mail programs show: no style, no script, no picture."""
    tag, new = html.tag, facts["new"]
    rows = [tag("li", tag("b", case["clip_id"]), f" {_why(case)}") for case in new[:SHOWN]]
    if len(new) > SHOWN:
        rows.append(tag("li", f"and {len(new) - SHOWN} more"))
    known = f"Known from earlier runs: {_counts(facts['known'])}" if facts["known"] else None
    body = html.join([
        tag("h1", headline(facts)),
        *(tag("p", line) for line in _facts(facts)),
        tag("h2", f"New, {len(new)}") if new else None,
        tag("ul", *rows) if new else None,
        tag("p", known) if known else None,
        *(tag("p", line) for line in _links(facts)),
    ])  # fmt: skip
    title = tag("title", headline(facts))
    return f"<!doctype html>\n{tag('html', tag('head', title), tag('body', body), lang='en')}"


def _facts(facts: Facts) -> list[str]:
    code = facts["exit_code"]
    end = "" if code is None else f", exit code {code}"
    took = "" if facts["seconds"] is None else f" in {output.clock(facts['seconds'])}"
    return [
        f"{_counts(facts['clips'])}",
        f"run {facts['run']}: {facts['state']}{end}; {facts['frames']} frames{took}",
    ]


def _links(facts: Facts) -> list[str]:
    report = facts["report"] or f"archive-restore report --out {facts['out']}"
    listed = f"archive-restore quarantine list --out {facts['out']}"
    return [f"Report: {report}", *([f"All of them: {listed}"] if facts["new"] else [])]


def _counts(counts: dict[str, int]) -> str:
    """Counts in words, the greatest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return (
        ", ".join(
            f"{n} {name if name.isupper() else name.replace('_', ' ')}" for name, n in ranked if n
        )
        or "none"
    )


def _told(case: Facts) -> str:
    return f"{case['clip_id']}  {_why(case)}"


def _why(case: Facts) -> str:
    return " ".join(f"{case['reason']}: {case['sentence']} Next: {case['next_step']}".split())
