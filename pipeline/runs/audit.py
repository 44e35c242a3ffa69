"""The audit log of an output: who did what and when. Entries are chained by hashes.

An entry holds the SHA-256 of the entry before it, and its own: the SHA-256 of its JSON with sorted
keys and without that field. An object holds one entry or more, one a line, and has the number of
the first. Objects are made by exclusive create and never change. Ends of clips wait for others, up
to WAIT_SECONDS or GROUP of them: a session that is killed leaves the rest to the one after it. Only
the holder of the output's lease writes. To change, remove or insert an entry later, one must
rewrite all entries after it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.runs.process import Process
from pipeline.store import layout
from pipeline.store.storage import DIRECT, Store
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

_ENDS = ("clip_published", "clip_untouched", "clip_quarantined", "clip_failed", "clip_held")
ACTIONS = (
    "run_started", "run_resumed", "run_stopped", "run_ended", *_ENDS, "clip_retried",
    "clip_reverted", "clip_released", "clip_reviewed", "clip_signed",
)  # fmt: skip

GROUP = 100  # entries in one object
WAIT_SECONDS = 30.0  # that an entry waits for others
FOLDER_ENTRIES = 1000  # keeps the newest entry two requests away
NONE = "0" * 64  # hash before the first entry


class AuditLog:
    """The log of an output, for the one process that writes it."""

    def __init__(self, out: str, store: Store = DIRECT) -> None:
        self.out, self.store = out, store
        self._by = Process.here().actor
        self._head: tuple[int, str] | None = None  # of the newest entry, written or waiting
        self._waiting: list[bytes] = []
        self._since = 0.0  # when the first of them came

    def append(self, action: str, **facts: object) -> None:
        """Write an entry of one of ACTIONS, after those that wait.

        Raises ArchiveError if another process writes.
        """
        self.note(action, **facts)
        self.flush()

    def note(self, action: str, **facts: object) -> None:
        """Add an entry that waits for others, so that they share an object. See `append`."""
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r}: use one of {', '.join(ACTIONS)}")
        number, previous = self._head or _head(self.store, self.out)
        entry: dict[str, object] = {
            "seq": number + 1, "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "by": self._by, "action": action, **facts, "previous": previous,
        }  # fmt: skip
        own = digest(entry)
        self._head = number + 1, own
        self._since = self._since if self._waiting else time.monotonic()
        self._waiting.append(json.dumps(entry | {"sha256": own}, sort_keys=True).encode())
        late = time.monotonic() - self._since >= WAIT_SECONDS
        if late or len(self._waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the entries that wait. Raises ArchiveError if another process writes."""
        if not self._waiting or self._head is None:
            return
        uri = _entry_uri(self.out, self._head[0] - len(self._waiting) + 1)
        if not self.store.create(uri, b"\n".join(self._waiting)):
            sentence = f"{self.out}: another process writes to the audit log"
            raise ArchiveError(sentence, exit_code=ExitCode.FAILED)
        self._waiting.clear()

    def has(self, action: str, run: str) -> bool:
        """Whether one of the newest entries is this one. At least one folder is searched."""
        return any(
            (entry["action"], entry["run"]) == (action, run)
            for folder in list(reversed(_folders(self.store, self.out)))[:2]
            for entry in _entries(self.store, folder)
        )

    def clips(self, run: str) -> set[str]:
        """The clips of a run whose end is in the log."""
        found: set[str] = set()
        for folder in reversed(_folders(self.store, self.out)):
            entries = [e for e in _entries(self.store, folder) if e["run"] == run]
            found |= {e["clip_id"] for e in entries if e["action"] in _ENDS}
            if any(entry["action"] == "run_started" for entry in entries):
                break
        return found


@dataclass(frozen=True)
class Verdict:
    """The result of a check of the log."""

    entries: int  # unchanged, counted from the first
    head: str  # the SHA-256 of the last unchanged entry
    broken: str | None = None  # address of the first broken entry
    why: str | None = None
    held: bool = True  # whether the log has the entry with the given hash


def verify(out: str, head: str | None = None) -> Verdict:
    """Check every entry and the chain. With ``head``, check that an entry has that hash."""
    number, previous, seen, last = 0, NONE, head in (None, NONE), ""
    for folder in _folders(DIRECT, out):
        for uri, data in _objects(DIRECT, folder):
            expected = _entry_uri(out, number + 1)
            if uri != expected:
                broken = (
                    (expected, "is missing") if uri > expected else (uri, "does not belong here")
                )
                return Verdict(number, previous, *broken, held=seen)
            for line in data.splitlines() or [b""]:
                number += 1
                if why := _broken(line, number, previous):
                    replaced = why.startswith("was replaced") and last
                    return Verdict(number - 1, previous, last if replaced else uri, why, held=seen)
                previous = json.loads(line)["sha256"]
                seen, last = seen or previous == head, uri
    return Verdict(number, previous, held=seen)


def _broken(line: bytes, number: int, previous: str) -> str:
    """What is wrong, if the entry shows that it, or the entry before it, was changed."""
    try:
        entry = json.loads(line)
        intact = entry["sha256"] == digest(entry) and entry["seq"] == number
        chained = entry["previous"]
    except (KeyError, TypeError, ValueError):
        return "is not an entry of an audit log"
    if not intact:
        return "was changed: it does not match its own hash"
    if chained != previous:
        return f"was replaced: entry {number} holds the hash of another entry"
    return ""


def digest(entry: Mapping[str, object]) -> str:
    """SHA-256 of an entry without its own hash."""
    plain = {name: value for name, value in entry.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _head(store: Store, out: str) -> tuple[int, str]:
    """Number and hash of the newest entry."""
    for folder in reversed(_folders(store, out)):
        uris = list(store.listing(folder))
        if not uris:
            continue
        try:
            entry = json.loads(store.read_bytes(uris[-1]).splitlines()[-1])
            return int(entry["seq"]), str(entry["sha256"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"{uris[-1]} is not an entry: run `audit verify`") from error
    return 0, NONE


def _folders(store: Store, out: str) -> list[str]:
    return [layout.audit_folder(out, name) for name in store.folders(layout.audit(out))]


def _objects(store: Store, folder: str) -> Iterator[tuple[str, bytes]]:
    yield from store.read_many(store.listing(folder)).items()


def _entries(store: Store, folder: str) -> Iterator[dict[str, Any]]:
    for _, data in _objects(store, folder):
        yield from map(json.loads, data.splitlines())


def _entry_uri(out: str, number: int) -> str:
    return layout.audit_entry(out, number, FOLDER_ENTRIES)
