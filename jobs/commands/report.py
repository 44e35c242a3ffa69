"""The command report."""

from __future__ import annotations

from jobs.console import output
from jobs.console.options import Json, Out


def report(out: Out, as_json: Json = False) -> None:
    """Write the report: pages with pictures before and after.

    The pages are static. They need no server and no network, and open from a disk or a bucket.
    The index is written first. Lines on stderr say what the command is working on.

    \b
    Example:
        archive-restore report --out restored
    """
    from jobs.console.progress import StepLines
    from jobs.report.write import write_report

    index = write_report(out, StepLines(as_json))
    output.emit({"report": index}) if as_json else output.say(f"report: {index}")
