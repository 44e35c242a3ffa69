"""A graceful stop: a run starts no new work and finishes the work in progress.

Only the driver reads the clock and gets the signals. It writes a stop marker into the ledger.
Workers look for the marker before they start a clip or a shard, on every node and also after a
restart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from schemas.reasons import Reason

LOOK_SECONDS = 1.0  # between two checks of the clock
EXIT_CODES = {
    Reason.DEADLINE_STOP: ExitCode.STOPPED,
    Reason.BUDGET_STOP: ExitCode.STOPPED,
    Reason.CANCELLED: ExitCode.TERMINATED,
    Reason.SYSTEM_STOP: ExitCode.FAILED,
}
_NOTES = {
    Reason.DEADLINE_STOP: "The deadline is reached. Work in progress is finished.",
    Reason.BUDGET_STOP: "The budget is spent. Work in progress is finished.",
    Reason.CANCELLED: "The run was asked to stop. Work in progress is finished.",
}
log = logging.getLogger(__name__)

Progress = Callable[[Event], None]


def _now() -> datetime:
    return datetime.now(UTC)


class Stop:
    """When a run has to stop: at its deadline, when its budget is spent, or when it is cancelled.

    The first of these counts. A budget is in hours of all devices of the run, busy or idle, from
    `begin` on.
    """

    def __init__(
        self,
        until: datetime | None = None,
        clock: Callable[[], datetime] = _now,
        *,
        max_gpu_hours: float | None = None,
        max_cpu_hours: float | None = None,
    ) -> None:
        self.until, self._clock = until, clock
        self.max_gpu_hours, self.max_cpu_hours = max_gpu_hours, max_cpu_hours
        self._spent: datetime | None = None  # when the budget will be spent
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask for the stop. Safe in a signal handler."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def begin(self, gpus: int, cpus: int) -> None:
        """Start to spend the budget on this many devices.

        Raises ArchiveError for a budget in GPU-hours if there is no GPU.
        """
        if self.max_gpu_hours is not None and not gpus:
            raise ArchiveError("--max-gpu-hours: this cluster has no GPU. Use --max-cpu-hours.")
        shares = ((self.max_gpu_hours, gpus), (self.max_cpu_hours, cpus))
        hours = [budget / count for budget, count in shares if budget is not None]
        if hours:
            self._spent = self._clock() + timedelta(hours=min(hours))

    def reason(self) -> Reason | None:
        """Why the run has to stop; None while it may continue."""
        if self.cancelled:
            return Reason.CANCELLED
        if self.until is not None and self._clock() >= self.until:
            return Reason.DEADLINE_STOP
        if self._spent is not None and self._clock() >= self._spent:
            return Reason.BUDGET_STOP
        return None

    @contextmanager
    def passed_on(self, ledger: Ledger, progress: Progress) -> Iterator[None]:
        """Pass a stop on to the workers of a run while the block runs."""
        over = threading.Event()
        if self._pass_on(ledger, progress):
            yield
            return
        thread = threading.Thread(
            target=self._watch, args=(ledger, progress, over), name="stop", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, ledger: Ledger, progress: Progress, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            if self._pass_on(ledger, progress):
                return

    def _pass_on(self, ledger: Ledger, progress: Progress) -> bool:
        """Whether a stop has been written for the workers."""
        reason = self.reason()
        if reason is None:
            return False
        try:
            ledger.stop(reason)
        except ArchiveError as error:  # the next check tries again
            log.warning("the stop was not passed on: %s", error)
            return False
        progress(Event(kind="note", sentence=_NOTES[reason]))
        return True
