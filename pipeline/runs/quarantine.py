"""The quarantine of an output: one case for each clip that did not end well.

A case holds the clip's row, the first run with the same reason, and the circumstances: a hash of
everything that could change the result of another try. Runs skip a quarantined clip while its
circumstances are the same. They always try failed and held clips again. A case is closed when its
clip ends well, or by `retry`. Only the holder of the output's lease writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pipeline.clip.clip import Clip
from pipeline.clip.result import Cell, ClipResult
from pipeline.runs import lease
from pipeline.runs.audit import AuditLog
from pipeline.runs.ledger import Ledger, runs
from pipeline.runs.row import result_to_record
from pipeline.sources.fetch import token_in_time
from pipeline.store import layout, storage
from pipeline.store.retry import with_retries
from schemas import strict_json
from schemas.errors import ArchiveError, ClipFault

if TYPE_CHECKING:
    from pipeline.runs.settings import Settings

FAULTY = ("quarantined", "failed", "held")


@dataclass(frozen=True)
class Case:
    """One clip that did not end well."""

    row: Mapping[str, Cell]  # of tables/clips, from the run that tried last
    circumstances: str
    since: str  # when the first run ended the clip with this reason
    since_run: str
    runs: int  # in a row that ended the clip with this reason

    @property
    def clip(self) -> str:
        return str(self.row["clip_id"])

    @property
    def run(self) -> str:
        """The run that tried last."""
        return str(self.row["run"])

    def facts(self) -> dict[str, Cell]:
        """The facts for `quarantine list`."""
        names = ("clip_id", "state", "reason", "sentence", "next_step", "source_uri", "run")
        more: dict[str, Cell] = {
            "since_run": self.since_run,
            "since": self.since,
            "runs": self.runs,
        }
        return {name: self.row.get(name) for name in names} | more

    def to_json(self) -> bytes:
        return strict_json.dumps(asdict(self), sort_keys=True, default=str).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls(**json.loads(data))


class Quarantine:
    """The cases of an output, as one run reads and changes them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cases = {case.clip: case for case in cases(settings.out)}

    def skipped(self, clip: Clip) -> dict[str, Cell] | None:
        """Columns of the result of a clip that the run skips; None if the run tries the clip."""
        case = self._cases.get(clip.clip_id)
        if case is None or not self._waits(case, clip):
            return None
        return {name: case.row[name] for name in ("state", "reason", "sentence", "next_step")}

    def _waits(self, case: Case, clip: Clip) -> bool:
        same = case.row["state"] == "quarantined"
        return same and case.circumstances == circumstances(clip, self._settings)

    def ended(self, clip: Clip, result: ClipResult) -> bool:
        """Open, keep or close the clip's case. False if the clip was only skipped."""
        case = self._cases.get(clip.clip_id)
        if result.state not in FAULTY:
            if case is not None:
                self._settings.store.delete(layout.quarantine_case(self._settings.out, case.clip))
            return True
        if case is not None and case.run == result.run:  # an earlier session of the run wrote it
            return True
        if case is not None and result.state == "quarantined" and self._waits(case, clip):
            return False
        self._open(clip, result, case)
        return True

    def _open(self, clip: Clip, result: ClipResult, before: Case | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        since, since_run, count = now, result.run, 1
        if before is not None and before.row["reason"] == result.reason:
            since, since_run, count = before.since, before.since_run, before.runs + 1
        row = result_to_record(result)
        case = Case(row, circumstances(clip, self._settings), since, since_run, count)
        self._settings.store.write_bytes(
            layout.quarantine_case(self._settings.out, case.clip), case.to_json()
        )


def cases(out: str) -> list[Case]:
    """Every case of an output, by clip."""
    found = storage.read_many(storage.listing(layout.quarantine(out)))
    return [Case.from_json(data) for data in found.values()]


def find(out: str, clip: str) -> Case:
    """The case of one clip. Raises ArchiveError if the clip has no case."""
    uri = layout.quarantine_case(out, clip)
    if not storage.exists(uri):
        raise ArchiveError(f"{clip} is not in the quarantine of {out}: run `quarantine list`")
    return Case.from_json(storage.read_bytes(uri))


def retry(out: str, clips: Iterable[str]) -> list[str]:
    """Make the next run try these clips again. Return their ids.

    Raises ArchiveError for a clip without a case.
    """
    found = [find(out, clip) for clip in clips]
    if not found:
        return []
    with lease.held(out, "quarantine retry"):
        oldest = min(case.since_run for case in found)
        ledgers = [Ledger(out, run) for run in runs(out) if run >= oldest]
        unfinished = [ledger for ledger in ledgers if ledger.summary() is None]
        log = AuditLog(out)
        for case in found:
            log.append("clip_retried", clip_id=case.clip, run=case.run, reason=case.row["reason"])
            for ledger in unfinished:
                ledger.reopen(case.clip)
            storage.delete(layout.quarantine_case(out, case.clip))
    return [case.clip for case in found]


def circumstances(clip: Clip, settings: Settings) -> str:
    """Hash of everything that could change the result of another try.

    That is the clip's manifest row, size and modification time of its source, recipe, weights and
    code. The source is not read.
    """
    try:
        token = with_retries(lambda: token_in_time(clip.source_uri), settings.store.retry)
    except ClipFault as fault:
        token = str(fault.reason)
    settings = settings.of(clip)
    facts = [
        clip.to_dict(), token, settings.recipe.digest, settings.weights_sha256, settings.code
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
