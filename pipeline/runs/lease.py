"""One writer for an output: a lease in OUT/lease/, which its holder renews.

`lease/<n>.json` is the n-th lease; the highest number is valid. A process takes a lease by the
exclusive create of the next number. Exactly one of several processes succeeds, on a file system and
in an object store, also after a holder has died. Only the holder rewrites its lease. Nothing is
deleted, so the folder shows who wrote when.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Self

from pipeline.runs.process import Process
from pipeline.store import layout, storage
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

RENEW_SECONDS = 15.0
STALE_SECONDS = 90.0  # without a heartbeat; machines that share an output differ less in time
log = logging.getLogger(__name__)


class Locked(ArchiveError):
    """Another process writes to the output. Nothing was started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.LOCKED)


class LeaseLost(ArchiveError):
    """The lease went stale and another process took it. Only committed work counts."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.FAILED)


@dataclass(frozen=True)
class Tenure:
    """The content of a lease: its holder, and when it was taken and renewed."""

    what: str  # the command
    process: Process
    taken: str
    renewed: str
    run: str = ""
    ended: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        plain = json.loads(data)
        return cls(**plain | {"process": Process(**plain["process"])})

    def over(self, now: datetime) -> bool:
        """Whether the lease has ended or its holder is gone.

        The time since the last heartbeat decides only if the process cannot be checked.
        """
        alive = self.process.alive()
        silent = (now - datetime.fromisoformat(self.renewed)).total_seconds()
        return bool(self.ended) or (silent > STALE_SECONDS if alive is None else not alive)

    def sentence(self) -> str:
        """The holder in words, for an error message."""
        name = f"run {self.run}" if self.run else f"`archive-restore {self.what}`"
        who = f"{self.process.actor}, process {self.process.pid}"
        return f"{name} ({who}) since {self.taken}, last heartbeat {self.renewed}"


class Lease:
    """A lease that this process holds."""

    def __init__(
        self, out: str, number: int, tenure: Tenure, on_loss: Callable[[], None] = lambda: None
    ) -> None:
        self.out, self.number, self.tenure = out, number, tenure
        self.lost = False
        self._on_loss = on_loss
        self._writing = threading.Lock()

    def renew(self, *, run: str = "", ended: str = "") -> None:
        """Write a heartbeat. If another process has taken over, set `lost` instead."""
        with self._writing:
            if self.lost:
                return
            if storage.exists(layout.lease(self.out, self.number + 1)):
                self.lost = True
                self._on_loss()
                return
            run = run or self.tenure.run
            self.tenure = replace(self.tenure, renewed=_now(), run=run, ended=ended)
            storage.write_bytes(layout.lease(self.out, self.number), self.tenure.to_json())

    def check(self) -> None:
        """Write a heartbeat. Raises LeaseLost if another process has taken over."""
        self.renew()
        if self.lost:
            raise LeaseLost(
                f"another process has taken over {self.out}, because this process wrote no "
                f"heartbeat for {STALE_SECONDS:.0f} s. Finished work is kept."
            )

    def beat(self, until: threading.Event) -> None:
        """Renew every RENEW_SECONDS. If the store keeps failing, the lease goes stale."""
        while not until.wait(RENEW_SECONDS):
            try:
                self.renew()
            except ArchiveError as error:
                log.warning("the lease was not renewed: %s", error)


def newest(out: str) -> tuple[int, Tenure | None]:
    """The number of the valid lease, and its content; 0 and None before the first lease."""
    names = [uri.rsplit("/", 1)[-1] for uri in storage.listing(layout.leases(out))]
    numbers = [int(name.removesuffix(".json")) for name in names if name.endswith(".json")]
    if not numbers:
        return 0, None
    uri = layout.lease(out, max(numbers))
    try:
        return max(numbers), Tenure.from_json(storage.read_bytes(uri))
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(
            f"{uri} is not a lease. If nothing writes to {out}, delete it."
        ) from error


def refuse_if_held(out: str) -> int:
    """The number of the last lease, which has ended. Raises Locked if it has not."""
    number, tenure = newest(out)
    if tenure is not None and not tenure.over(datetime.now(UTC)):
        raise Locked(f"{out} is locked by {tenure.sentence()}. Nothing was started.")
    return number


def take(out: str, what: str, on_loss: Callable[[], None] = lambda: None) -> Lease:
    """Take the lease of an output. Raises Locked if another process has it."""
    number = refuse_if_held(out) + 1
    tenure = Tenure(what, Process.here(), _now(), _now())
    if not storage.create(layout.lease(out, number), tenure.to_json()):
        refuse_if_held(out)  # another process was faster
        raise Locked(f"another process has just locked {out}. Nothing was started.")
    return Lease(out, number, tenure, on_loss)


@contextmanager
def held(out: str, what: str, on_loss: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """Hold the lease of an output while the block runs. A thread renews it."""
    lease = take(out, what, on_loss)
    over = threading.Event()
    thread = threading.Thread(target=lease.beat, args=(over,), name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()
        try:
            lease.renew(ended=_now())
        except ArchiveError as error:  # the lease goes stale without it
            log.warning("%s: the end of the lease was not written: %s", out, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
