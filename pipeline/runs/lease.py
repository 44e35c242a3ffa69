"""One writer for an output: a lease in OUT/lease/, renewed for as long as its holder lives.

    lease/<n>.json   the n-th holder; the highest number is the lease that counts

A lease is taken by the exclusive create of the next number: of many takers exactly one wins, on a
file system as in an object store, also over the lease of a holder that died. Only its holder
rewrites it, and nothing is deleted, so the folder tells who wrote when.
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

RENEW_SECONDS = 15.0
STALE_SECONDS = 90.0  # without a heartbeat; clocks of machines that share an output agree closer
log = logging.getLogger(__name__)


class Locked(ArchiveError):
    """Another process writes to the output: nothing was started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=6)


class LeaseLost(ArchiveError):
    """The lease went stale and another process took it: what is committed counts, all else not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


@dataclass(frozen=True)
class Tenure:
    """What a holder writes about itself."""

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
        """Whether the holder gave the lease back or is gone; silence counts only where nobody can
        tell.
        """
        alive = self.process.alive()
        silent = (now - datetime.fromisoformat(self.renewed)).total_seconds()
        return bool(self.ended) or (silent > STALE_SECONDS if alive is None else not alive)

    def sentence(self) -> str:
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
        """A heartbeat; it finds out when another process has taken over."""
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
        """Raise LeaseLost when another process has taken over."""
        self.renew()
        if self.lost:
            raise LeaseLost(
                f"{self.out} was taken over by another process after {STALE_SECONDS:.0f} s "
                "without a heartbeat of this one; finished work is kept"
            )

    def beat(self, until: threading.Event) -> None:
        """Renew now and then; trouble of the store passes or makes the lease stale."""
        while not until.wait(RENEW_SECONDS):
            try:
                self.renew()
            except ArchiveError as error:
                log.warning("no heartbeat: %s", error)


def newest(out: str) -> tuple[int, Tenure | None]:
    """The number of the lease that counts, and its holder; 0 and None before the first."""
    names = [uri.rsplit("/", 1)[-1] for uri in storage.listing(layout.leases(out))]
    numbers = [int(name.removesuffix(".json")) for name in names if name.endswith(".json")]
    if not numbers:
        return 0, None
    uri = layout.lease(out, max(numbers))
    try:
        return max(numbers), Tenure.from_json(storage.read_bytes(uri))
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{uri} is no lease: delete it when nothing writes to {out}") from error


def refuse_if_held(out: str) -> int:
    """Return the number of the last lease, which is over. Raises Locked when it is not."""
    number, tenure = newest(out)
    if tenure is not None and not tenure.over(datetime.now(UTC)):
        raise Locked(f"{out} is locked by {tenure.sentence()}; nothing was started")
    return number


def take(out: str, what: str, on_loss: Callable[[], None] = lambda: None) -> Lease:
    """Take the lease of an output. Raises Locked when another process has it."""
    number = refuse_if_held(out) + 1
    tenure = Tenure(what, Process.here(), _now(), _now())
    if not storage.create(layout.lease(out, number), tenure.to_json()):
        refuse_if_held(out)  # a rival was faster
        raise Locked(f"{out} was locked by another process just now; nothing was started")
    return Lease(out, number, tenure, on_loss)


@contextmanager
def held(out: str, what: str, on_loss: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """The lease of an output for as long as the block runs, kept alive by a thread."""
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
        except ArchiveError as error:  # it goes stale by itself
            log.warning("%s: the lease was not given back: %s", out, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
