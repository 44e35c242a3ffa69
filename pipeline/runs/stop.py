"""Stopping in order: a run is asked to end, begins nothing more, and finishes what is under way.

The driver alone looks at the clock and gets the signals. It passes a stop on as an object in the
ledger, which workers look for before they begin with a clip or a shard: on any node, and also after
a restart.
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
from schemas.reasons import Reason

LOOK_SECONDS = 1.0  # between two looks at the clock
EXIT_CODES = {
    Reason.DEADLINE_STOP: 5, Reason.BUDGET_STOP: 5, Reason.CANCELLED: 143, Reason.SYSTEM_STOP: 1,
}  # fmt: skip
_NOTES = {
    Reason.DEADLINE_STOP: "the deadline is reached: finishing what is under way",
    Reason.BUDGET_STOP: "the budget is spent: finishing what is under way",
    Reason.CANCELLED: "asked to stop: finishing what is under way",
}
log = logging.getLogger(__name__)

Progress = Callable[[Event], None]


def _now() -> datetime:
    return datetime.now(UTC)


class Stop:
    """When a run has to end: at its deadline, when its budget is spent or when it is cancelled,
    whichever comes first.

    A budget is in hours of the devices that the run has, from `begin` on, busy or not.
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
        self._spent: datetime | None = None  # when the budget will be
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask for the end; a signal handler may."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._cancelled.is_set()

    def begin(self, gpus: int, cpus: int) -> None:
        """Start to spend the budget on so many devices. Raises ArchiveError for a budget of GPUs
        where there is none.
        """
        if self.max_gpu_hours is not None and not gpus:
            raise ArchiveError("--max-gpu-hours: there is no GPU here; use --max-cpu-hours")
        shares = ((self.max_gpu_hours, gpus), (self.max_cpu_hours, cpus))
        hours = [budget / count for budget, count in shares if budget is not None]
        if hours:
            self._spent = self._clock() + timedelta(hours=min(hours))

    def reason(self) -> Reason | None:
        """Why the run has to end; None while it may go on."""
        if self.cancelled:
            return Reason.CANCELLED
        if self.until is not None and self._clock() >= self.until:
            return Reason.DEADLINE_STOP
        if self._spent is not None and self._clock() >= self._spent:
            return Reason.BUDGET_STOP
        return None

    @contextmanager
    def passed_on(self, ledger: Ledger, progress: Progress) -> Iterator[None]:
        """Pass a stop on to the workers of a run, at once or while the block runs."""
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
        """Whether there was a stop, and the workers can see it now."""
        reason = self.reason()
        if reason is None:
            return False
        try:
            ledger.stop(reason)
        except ArchiveError as error:  # the next look tries again
            log.warning("the stop was not passed on: %s", error)
            return False
        progress(Event(kind="note", sentence=_NOTES[reason]))
        return True
