"""The summary of the newest run, for a mail or a webhook: counts first, then new cases."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from jobs.console import html, output
from jobs.console.captured import Report
from jobs.console.output import LISTED
from jobs.monitor.metrics import READY
from jobs.monitor.status import read_status
from jobs.monitor.webhook import post
from pipeline.runs.events import Event
from pipeline.runs.quarantine import cases
from pipeline.store import layout, storage

Facts = dict[str, Any]


def deliver(url: str, out: str, result: Facts, report: Report) -> None:
    """Post the summary of the run that just ended. An error is reported and changes nothing."""
    try:
        known = {name: result[name] for name in ("seconds", "exit_code")}
        post(url, message(read_summary(out) | known))
    except Exception as error:  # no error here may change the run's result
        report(Event(kind="log", sentence=" ".join(str(error).split())))


def message(facts: Facts) -> Facts:
    """Return the webhook's message: the facts, and the text that chat programs show."""
    return {"text": describe(facts), **facts}


def read_summary(out: str) -> Facts:
    """Return the facts of the newest run. Raises ArchiveError if there is no run."""
    status = read_status(out)
    run, clips = str(status["run"]), cast(dict[str, int], status["clips"])
    found = [case.facts() for case in cases(out)]
    index = layout.report_index(out)
    names = ("run", "state", "started", "out", "frames")
    return {
        **{name: status[name] for name in names},
        "seconds": status.get("seconds"),
        "exit_code": status.get("exit_code"),
        "ready": sum(clips.get(state, 0) for state in READY),
        "total": sum(clips.values()),
        "clips": clips,
        "new": [case for case in found if case["since_run"] == run],
        "known": dict(Counter(str(c["reason"]) for c in found if c["since_run"] != run)),
        "report": index if storage.exists(index) else None,
    }


def describe(facts: Facts) -> str:
    """Return the summary as plain text."""
    lines = [headline(facts), *_facts(facts)]
    new = facts["new"]
    if new:
        lines += ["", f"New, {len(new)}:", *(f"  {_line(case)}" for case in new[:LISTED])]
        lines += [f"  and {len(new) - LISTED} more"] if len(new) > LISTED else []
    if facts["known"]:
        lines += ["", f"Known from earlier runs: {_counts(facts['known'])}"]
    return "\n".join([*lines, "", *_links(facts)])


def headline(facts: Facts) -> str:
    """Return the counts: the first line, and the subject of a mail."""
    return f"{facts['ready']} of {facts['total']} clips ready"


def markup(facts: Facts) -> str:
    """Return the summary as HTML for mail programs: no style, no script, no picture."""
    tag, new = html.tag, facts["new"]
    rows = [tag("li", tag("b", case["clip_id"]), f" {_why(case)}") for case in new[:LISTED]]
    if len(new) > LISTED:
        rows.append(tag("li", f"and {len(new) - LISTED} more"))
    known = f"Known from earlier runs: {_counts(facts['known'])}" if facts["known"] else None
    parts = [
        tag("h1", headline(facts)),
        *(tag("p", line) for line in _facts(facts)),
        tag("h2", f"New, {len(new)}") if new else None,
        tag("ul", *rows) if new else None,
        tag("p", known) if known else None,
        *(tag("p", line) for line in _links(facts)),
    ]
    head = tag("head", tag("title", headline(facts)))
    return f"<!doctype html>\n{tag('html', head, tag('body', *parts), lang='en')}"


def _facts(facts: Facts) -> list[str]:
    code = facts["exit_code"]
    end = "" if code is None else f", exit code {code}"
    took = "" if facts["seconds"] is None else f" in {output.clock(facts['seconds'])}"
    return [
        _counts(facts["clips"]),
        f"run {facts['run']}: {facts['state']}{end}; {facts['frames']} frames{took}",
    ]


def _links(facts: Facts) -> list[str]:
    report = facts["report"] or f"archive-restore report --out {facts['out']}"
    listed = f"archive-restore quarantine list --out {facts['out']}"
    return [f"Report: {report}", *([f"All cases: {listed}"] if facts["new"] else [])]


def _counts(counts: dict[str, int]) -> str:
    """Return counts in words, the greatest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [(n, name if name.isupper() else name.replace("_", " ")) for name, n in ranked if n]
    return ", ".join(f"{n} {name}" for n, name in named) or "none"


def _line(case: Facts) -> str:
    return f"{case['clip_id']}  {_why(case)}"


def _why(case: Facts) -> str:
    return " ".join(f"{case['reason']}: {case['sentence']} Next: {case['next_step']}".split())
