"""The ledger of a run: small JSON objects below OUT/runs/<run>/, the only record of what is done.

    run.json                        identity, start, sessions
    attempts/<clip>/<shard>-<n>.json  a worker began; <shard>-<n>.end: it came to a Python-level end
    segments/<clip>/<shard>.json    a restored shard; its media may lie beside it
    assembly/<clip>/<session>.json  the shard whose worker assembles the clip
    done/<clip>.json                the clip's row: the commit point
    stop/<session>.json             the session begins nothing more
    summary.json                    the run is over

Every object but run.json and summary.json is made by an exclusive create and never changes, so a
step that runs twice counts once, on a file system as in an object store.
"""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self, cast

from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from pipeline.runs.row import (
    result_from_record,
    result_to_record,
    segment_from_record,
    segment_to_record,
)
from pipeline.store import storage
from pipeline.store.retry import NO_RETRIES, RetryPolicy
from pipeline.store.storage import Store
from schemas import strict_json
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason

Record = dict[str, object]

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_RUNS_SEARCHED = 200  # newest first: an older unfinished run is left alone


@dataclass(frozen=True)
class WorkerId:
    """Who makes an attempt: the driver's session, the node's id, the process on it."""

    session: str
    node: str
    pid: int


class _Attempt(NamedTuple):
    uri: str
    shard: int
    number: int
    ended: bool
    superseded: bool  # a later attempt at the same shard has begun


class Ledger:
    """One run's ledger. Cheap to make and to pickle: it holds names, not connections."""

    def __init__(
        self, out: str, run: str, session: str = "", retry: RetryPolicy = NO_RETRIES
    ) -> None:
        self.out = str(out)
        self.run = _safe(run)
        self.session = session
        self.store = Store(retry)
        self.uri = storage.join(self.out, "runs", run)
        self._results: dict[str, ClipResult] = {}
        self._stopped: Reason | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str, RetryPolicy]]:
        return type(self), (self.out, self.run, self.session, self.store.retry)

    @classmethod
    def open_or_resume(
        cls, out: str, identity: Mapping[str, object], retry: RetryPolicy = NO_RETRIES
    ) -> Self:
        """Resume the newest run of this identity if it is unfinished; else begin a new run.

        `identity` holds the hashes that decide what the run does: manifest, recipe, weights, code.
        Either way a new session begins. Raises ArchiveError for a store that cannot create
        exclusively.
        """
        session = secrets.token_hex(4)
        for run, record in _newest_runs(out, retry):
            if record.get("identity") != dict(identity):
                continue
            ledger = cls(out, run, session, retry)
            if ledger.store.exists(ledger._at("summary.json")):
                break
            sessions = [*cast(list[Record], record["sessions"]), ledger._session_record()]
            ledger.store.write_bytes(ledger._at("run.json"), _dump(record | {"sessions": sessions}))
            return ledger
        return cls._begin(out, session, identity, retry)

    @classmethod
    def _begin(
        cls, out: str, session: str, identity: Mapping[str, object], retry: RetryPolicy
    ) -> Self:
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        ledger = cls(out, run, session, retry)
        begun = ledger._session_record()
        record = {
            "run": run,
            "identity": dict(identity),
            "started": begun["started"],
            "sessions": [begun],
        }
        uri = ledger._at("run.json")
        ledger.store.create(uri, _dump(record))
        if ledger.store.create(uri, _dump(record)):
            raise ArchiveError(
                f"{out} does not honour conditional writes (If-None-Match: *), which keep work "
                "from being done twice: use another store"
            )
        return ledger

    def info(self) -> Record:
        """Return run.json: run, identity, started, sessions."""
        return _load(self.store.read_bytes(self._at("run.json")))

    def claim_attempt(self, clip: str, shard: int, worker: WorkerId) -> int:
        """Record that a worker begins with a shard; return the attempt's number, from 1."""
        data = _dump(asdict(worker) | {"started": _now()})
        number = 1
        while not self.store.create(self._attempt_uri(clip, shard, number, "json"), data):
            number += 1
        return number

    def end_attempt(self, clip: str, shard: int, number: int) -> None:
        """Record that an attempt came to an end, good or bad, with its worker alive."""
        uri = self._attempt_uri(clip, shard, number, "end")
        self.store.create(uri, _dump({"ended": _now()}))

    def deaths(
        self, clip: str, session: str, lost_nodes: set[str], shard: int | None = None
    ) -> int:
        """Count the workers that died on this clip in this session, on nodes that are still up.

        A death is an attempt without an end that a later attempt at the same shard has superseded;
        an attempt that may still be under way is none. A caller about to begin with `shard`, whose
        earlier workers are therefore gone, names it: then its latest attempt counts as well. So
        `claim_attempt(c, s, w)` then `deaths(c, ...)` and `deaths(c, ..., shard=s)` then
        `claim_attempt` see the same number.
        """
        unended = [
            attempt.uri
            for attempt in self._attempts(clip)
            if not attempt.ended and (attempt.superseded or attempt.shard == shard)
        ]
        records = [_load(data) for data in self.store.read_many(unended).values()]
        return sum(r["session"] == session and r["node"] not in lost_nodes for r in records)

    def attempts(self, clip: str) -> list[Record]:
        """Return who attempted which shard of the clip when, and whether that came to an end."""
        found = self._attempts(clip)
        read = self.store.read_many(a.uri for a in found)
        return [{"shard": a.shard, "ended": a.ended, **_load(read[a.uri])} for a in found]

    def commit_segment(self, clip: str, segment: SegmentRecord) -> bool:
        """Record a restored shard; False when it was there already."""
        uri = self._at("segments", _safe(clip), f"{segment.shard}.json")
        return self.store.create(uri, _dump(segment_to_record(segment)))

    def segments(self, clip: str) -> dict[int, SegmentRecord]:
        """Return the records of the clip's restored shards, in order."""
        uris = self.store.listing(self._at("segments", _safe(clip)))
        found = self.store.read_many(uri for uri in uris if uri.endswith(".json"))
        records = {int(_stem(uri)): segment_from_record(_load(data)) for uri, data in found.items()}
        return dict(sorted(records.items()))

    def claim_assembly(self, clip: str, session: str, shard: int) -> bool:
        """Return True for the one shard of this session whose worker assembles the clip.

        The owner gets True again on a retry; a claim of an earlier session has ended with it.
        """
        uri = self._at("assembly", _safe(clip), f"{_safe(session)}.json")
        if self.store.create(uri, _dump({"shard": shard, "claimed": _now()})):
            return True
        return _load(self.store.read_bytes(uri))["shard"] == shard

    def commit_clip(self, result: ClipResult) -> bool:
        """Commit how a clip ended, whatever its state; False when it was committed before."""
        return self.store.create(self._done_uri(result.clip_id), _dump(result_to_record(result)))

    def result(self, clip: str) -> ClipResult:
        """Return how a clip ended. Raises ClipFault(NOT_FOUND) while it has not."""
        if clip not in self._results:
            data = self.store.read_bytes(self._done_uri(clip))
            self._results[clip] = result_from_record(_load(data))
        return self._results[clip]

    def done(self) -> dict[str, ClipResult]:
        """Return every committed result by clip, in order; only new ones are read again."""
        new = [uri for uri in self._done_uris() if _stem(uri) not in self._results]
        for uri, data in self.store.read_many(new).items():
            self._results[_stem(uri)] = result_from_record(_load(data))
        return dict(sorted(self._results.items()))

    def is_done(self, clip: str) -> bool:
        """Return whether the clip is committed: one request, whatever the size of the run."""
        return clip in self._results or self.store.exists(self._done_uri(clip))

    def reopen(self, clip: str) -> None:
        """Forget a clip that did not end well, with its segments: the run tries it afresh."""
        uri = self._done_uri(clip)
        if not self.store.exists(uri) or _load(self.store.read_bytes(uri)).get("reason") is None:
            return
        for segment in list(self.store.listing(self._at("segments", clip))):
            self.store.delete(segment)
        self.store.delete(uri)
        self._results.pop(clip, None)

    def stop(self, reason: Reason) -> None:
        """Ask this session's workers to begin nothing more; the first reason given counts."""
        self.store.create(self._stop_uri(), _dump({"reason": str(reason), "asked": _now()}))

    def stopped(self) -> Reason | None:
        """Return why this session begins nothing more, None while it does: one request."""
        if self._stopped is None and self.store.exists(self._stop_uri()):
            self._stopped = Reason(str(_load(self.store.read_bytes(self._stop_uri()))["reason"]))
        return self._stopped

    def finish(self, summary: Mapping[str, object]) -> None:
        """Write the summary, which ends the run: it is not resumed any more."""
        self.store.write_bytes(self._at("summary.json"), _dump(summary))

    def summary(self) -> Record | None:
        """Return the summary, or None while the run is unfinished."""
        uri = self._at("summary.json")
        return _load(self.store.read_bytes(uri)) if self.store.exists(uri) else None

    def _at(self, *parts: str) -> str:
        return storage.join(self.uri, *parts)

    def _stop_uri(self) -> str:
        return self._at("stop", f"{_safe(self.session)}.json")

    def _attempt_uri(self, clip: str, shard: int, number: int, kind: str) -> str:
        return self._at("attempts", _safe(clip), f"{shard}-{number}.{kind}")

    def _done_uri(self, clip: str) -> str:
        return self._at("done", f"{_safe(clip)}.json")

    def _done_uris(self) -> list[str]:
        return list(self.store.listing(self._at("done")))

    def _session_record(self) -> Record:
        return {"session": self.session, "started": _now()}

    def _attempts(self, clip: str) -> list[_Attempt]:
        """Return the clip's attempts, from one listing."""
        uris = list(self.store.listing(self._at("attempts", _safe(clip))))
        ended = {uri.removesuffix(".end") for uri in uris if uri.endswith(".end")}
        begun = [uri for uri in uris if uri.endswith(".json")]
        places = {uri: _shard_and_number(uri) for uri in begun}
        latest: dict[int, int] = defaultdict(int)
        for shard, number in places.values():
            latest[shard] = max(latest[shard], number)
        return [
            _Attempt(uri, shard, n, uri.removesuffix(".json") in ended, n < latest[shard])
            for uri, (shard, n) in places.items()
        ]


def runs(out: str) -> list[str]:
    """Return the ids of all runs below OUT, oldest first."""
    return [name for name in storage.folders(storage.join(out, "runs")) if _RUN_ID.fullmatch(name)]


def _newest_runs(out: str, retry: RetryPolicy) -> Iterator[tuple[str, Record]]:
    """Yield id and run.json of the newest runs, newest first."""
    for run in runs(out)[::-1][:_RUNS_SEARCHED]:
        try:
            yield run, Ledger(out, run, retry=retry).info()
        except ClipFault as fault:
            if fault.reason is not Reason.NOT_FOUND:  # a folder that holds no run
                raise


def _safe(name: str) -> str:
    """Return a name that is one harmless path segment. Raises ValueError for any other."""
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not made of letters, digits, `.`, `_` and `-`")
    return name


def _stem(uri: str) -> str:
    return uri.rsplit("/", 1)[-1].removesuffix(".json")


def _shard_and_number(uri: str) -> tuple[int, int]:
    shard, number = _stem(uri).rsplit("-", 1)  # a negative shard stands for a step of its own
    return int(shard), int(number)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _dump(record: Mapping[str, object]) -> bytes:
    return strict_json.dumps(record, sort_keys=True).encode()


def _load(data: bytes) -> Record:
    return cast(Record, json.loads(data))
