"""What SIGTERM does to a run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import typer

from jobs.console import output
from schemas.exit_codes import ExitCode

if TYPE_CHECKING:
    from jobs.console.captured import Report
    from pipeline.runs.events import Event
    from pipeline.runs.stop import Stop


@contextlib.contextmanager
def sigterm_handled(report: Report, stop: Stop | None) -> Iterator[Report]:
    """Stop a running run in order at the first SIGTERM. At any other SIGTERM, exit with code 143.

    When Ray connects, it installs a native handler that aborts the process. The report yielded here
    installs our handler again as soon as the run says that it has begun.
    """
    begun = False

    def terminate(number: int, frame: FrameType | None) -> None:
        if stop is None or stop.cancelled or not begun:
            raise SystemExit(ExitCode.TERMINATED)
        stop.cancel()

    def watch(event: Event) -> None:
        nonlocal begun
        if event.kind == "run":
            begun = True
            signal.signal(signal.SIGTERM, terminate)
        report(event)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield watch
    except SystemExit as error:  # Ray's Python handler exits with the bare number of the signal
        if error.code not in (signal.SIGTERM, ExitCode.TERMINATED):
            raise
        output.log("archive-restore: terminated; finished work is kept. Run it again to continue.")
        raise typer.Exit(ExitCode.TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
