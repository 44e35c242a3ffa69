"""Hands the figures of a run to Prometheus while it works: by text file or pushgateway.

An error here never changes the run or its result. It is reported once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jobs.console.captured import Report
from jobs.monitor.metrics import PREFIX, Figures
from pipeline.runs.events import Event
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

WRITE_SECONDS = 15.0
PUSH_TIMEOUT_SECONDS = 10.0
JOB = "archive-restore"


class MetricsExporter:
    """Takes the events of one run, passes them on, and writes the figures every few seconds."""

    def __init__(self, out: str, file: Path | None, gateway: str | None, report: Report) -> None:
        self._file, self._gateway, self._report = file, gateway, report
        self._figures = Figures(out, last_success(file, out))
        self._lock, self._over = threading.Lock(), threading.Event()
        self._writer = threading.Thread(target=self._beat, name="metrics", daemon=True)
        self._reported = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._figures.add(event)
        if event.kind == "run" and (self._file or self._gateway):
            self._write()
            self._writer.start()
        self._report(event)

    def end(self, exit_code: int) -> None:
        """Write the last figures. A run that a lock kept from starting has no figures."""
        self._over.set()
        if self._writer.is_alive():
            self._writer.join()
        if exit_code != ExitCode.LOCKED:
            self._figures.end(exit_code)
            self._write()

    def collect(self) -> Iterator[Family]:
        """Yield the current figures, as the client library asks for them."""
        with self._lock:
            families = list(self._figures.collect())
        yield from families

    def _beat(self) -> None:
        while not self._over.wait(WRITE_SECONDS):
            self._write()

    def _write(self) -> None:
        if not (self._file or self._gateway):
            return
        from prometheus_client import pushadd_to_gateway, write_to_textfile

        try:
            if self._file:
                write_to_textfile(str(self._file), self)
            if self._gateway:
                group = {"out": self._figures.out}
                timeout = PUSH_TIMEOUT_SECONDS
                pushadd_to_gateway(self._gateway, JOB, self, group, timeout)
        except (OSError, ValueError) as error:
            if not self._reported:
                self._reported = True
                self._report(Event(kind="log", sentence=f"the metrics were not written: {error}"))


@contextlib.contextmanager
def exporting(
    out: str, file: Path | None, gateway: str | None, report: Report
) -> Iterator[MetricsExporter]:
    """Yield the exporter of one run. An exception in the block ends it with that exit code.

    The caller ends it after success. Raises ArchiveError if the file name does not end in .prom.
    """
    if file is not None and file.suffix != ".prom":
        raise ArchiveError(f"--metrics-file {file}: node_exporter reads only files named *.prom")
    exporter = MetricsExporter(out, file, gateway, report)
    try:
        yield exporter
    except BaseException as error:
        exporter.end(_exit_code(error))
        raise


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, ArchiveError | typer.Exit):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return ExitCode.FAILED


def last_success(file: Path | None, out: str) -> float:
    """Return when a run of this output last succeeded, from the metrics file of an earlier run."""
    if file is None or not file.is_file():
        return 0.0
    from prometheus_client.parser import text_string_to_metric_families

    name = f"{PREFIX}last_success_timestamp_seconds"
    try:
        text = file.read_text(encoding="utf-8")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels.get("out") == out:
                    return sample.value
    except (OSError, ValueError):
        pass
    return 0.0
