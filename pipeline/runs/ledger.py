"""The ledger of a run: small JSON objects below OUT/runs/<run>/, the only record of finished work.

`pipeline.store.layout` lists the objects. All but run.json, summary.json and the recipes are made
by an exclusive create and never change. So a step that runs twice counts once, on a file system and
in an object store.
"""

import re
import secrets
import time
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self, cast

from pipeline.clip.details import survey_in
from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.survey import Survey
from pipeline.runs.row import (
    Record,
    dump,
    load,
    result_from_record,
    result_to_record,
    segment_from_record,
    segment_to_record,
)
from pipeline.store import layout, storage
from pipeline.store.retry import NO_RETRIES, RetryPolicy
from pipeline.store.storage import Store
from schemas.errors import ArchiveError, ClipFault
from schemas.keys import RUN_ID
from schemas.reasons import Reason

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
STOP_SECONDS = 1.0  # between two looks of a process for a stop
SURVEY, ASSEMBLY = -1, -2  # these steps among the shards of attempts
STEPS: dict[object, str] = {SURVEY: "survey", ASSEMBLY: "assembly"}
Claim = Literal["new", "again", "other"]
_RUNS_SEARCHED = 200  # newest first; an older unfinished run is not resumed


@dataclass(frozen=True)
class WorkerId:
    """Who makes an attempt: the driver's session, the id of the node, the process on it."""

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
        self,
        out: str,
        run: str,
        session: str = "",
        retry: RetryPolicy = NO_RETRIES,
        resumed: bool = True,
    ) -> None:
        self.out = str(out)
        self.run = _safe(run)
        self.session = session
        self.resumed = resumed  # whether an earlier session may have left work
        self.store = Store(retry)
        self.uri = layout.run_folder(self.out, run)
        self._results: dict[str, ClipResult] = {}
        self._stopped: Reason | None = None
        self._looked = -STOP_SECONDS  # when the stop marker was last looked for

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str, RetryPolicy, bool]]:
        return type(self), (self.out, self.run, self.session, self.store.retry, self.resumed)

    @classmethod
    def open_or_resume(
        cls, out: str, identity: Mapping[str, object], retry: RetryPolicy = NO_RETRIES
    ) -> Self:
        """Resume the newest run of this identity if it is unfinished; else begin a new run.

        `identity` holds the hashes that decide what the run does: manifest, recipe, weights, code.
        Both ways begin a new session. Raises ArchiveError if the store cannot create exclusively.
        """
        session = secrets.token_hex(4)
        for run, record in _newest_runs(out, retry):
            if record.get("identity") != dict(identity):
                continue
            ledger = cls(out, run, session, retry)
            if ledger.store.exists(layout.run_summary(ledger.uri)):
                break
            sessions = [*cast(list[Record], record["sessions"]), ledger._session_record()]
            uri = layout.run_record(ledger.uri)
            ledger.store.write_bytes(uri, dump(record | {"sessions": sessions}))
            return ledger
        return cls._begin(out, session, identity, retry)

    @classmethod
    def _begin(
        cls, out: str, session: str, identity: Mapping[str, object], retry: RetryPolicy
    ) -> Self:
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        ledger = cls(out, run, session, retry, resumed=False)
        begun = ledger._session_record()
        record = {
            "run": run,
            "identity": dict(identity),
            "started": begun["started"],
            "sessions": [begun],
        }
        uri = layout.run_record(ledger.uri)
        ledger.store.create(uri, dump(record))
        if ledger.store.create(uri, dump(record)):
            raise ArchiveError(
                f"{out} does not honour conditional writes (If-None-Match: *). Without them, work "
                "could be done twice. Use another store."
            )
        return ledger

    def info(self) -> Record:
        """The content of run.json: run, identity, started, sessions."""
        return load(self.store.read_bytes(layout.run_record(self.uri)))

    def begin_shard(self, clip: str, shard: int, worker: WorkerId) -> bool:
        """Record the first attempt at a shard. False if there was one before. One request."""
        uri = layout.attempt(self.uri, _safe(clip), shard, 1)
        return self.store.create(uri, dump(asdict(worker) | {"started": _now()}))

    def claim_attempt(self, clip: str, shard: int, worker: WorkerId) -> int:
        """Record that a worker begins a shard. Return the number of the attempt, from 1."""
        data = dump(asdict(worker) | {"started": _now()})
        number = 1
        while not self.store.create(layout.attempt(self.uri, _safe(clip), shard, number), data):
            number += 1
        return number

    def end_attempt(self, clip: str, shard: int, number: int) -> None:
        """Record that an attempt ended without a segment, and that its worker is alive."""
        uri = layout.attempt_end(self.uri, _safe(clip), shard, number)
        self.store.create(uri, dump({"ended": _now()}))

    def deaths(
        self, clip: str, session: str, lost_nodes: set[str], shard: int | None = None
    ) -> int:
        """Count the workers that died on this clip in this session, on nodes that are still up.

        A death is an attempt without an end, if a later attempt at the same shard has begun. What
        an attempt makes, a segment or a survey, is an end of the latest one. The latest attempt at
        a shard may still be in progress, so it does not count. If the caller is about to begin
        `shard`, its earlier workers are gone: name the shard, and its latest attempt counts as
        well.
        """
        unended = [
            attempt.uri
            for attempt in self._attempts(clip)
            if not attempt.ended and (attempt.superseded or attempt.shard == shard)
        ]
        records = [load(data) for data in self.store.read_many(unended).values()]
        return sum(r["session"] == session and r["node"] not in lost_nodes for r in records)

    def attempts(self, clip: str) -> list[Record]:
        """Every attempt at the clip: shard, worker, start, and whether the attempt ended."""
        found = self._attempts(clip)
        read = self.store.read_many(a.uri for a in found)
        return [{"shard": a.shard, "ended": a.ended, **load(read[a.uri])} for a in found]

    def commit_segment(self, clip: str, segment: SegmentRecord) -> bool:
        """Record a restored shard. False if it was recorded before."""
        uri = layout.segment_record(self.uri, _safe(clip), segment.shard)
        return self.store.create(uri, dump(segment_to_record(segment)))

    def segments(self, clip: str) -> dict[int, SegmentRecord]:
        """The records of the clip's restored shards, in order."""
        uris = self.store.listing(layout.segments(self.uri, _safe(clip)))
        found = self.store.read_many(uri for uri in uris if uri.endswith(".json"))
        records = {int(_stem(uri)): segment_from_record(load(data)) for uri, data in found.items()}
        return dict(sorted(records.items()))

    def segment(self, clip: str, shard: int) -> SegmentRecord | None:
        """The record of a restored shard; None if there is none. One request."""
        data = self.store.find(layout.segment_record(self.uri, _safe(clip), shard))
        return None if data is None else segment_from_record(load(data))

    def claim_assembly(self, clip: str, session: str, shard: int) -> Claim:
        """`new` for exactly one shard of this session: its worker assembles the clip.

        A retry of that shard gets `again`. A claim counts for its own session only.
        """
        uri = layout.assembly_claim(self.uri, _safe(clip), _safe(session))
        if self.store.create(uri, dump({"shard": shard, "claimed": _now()})):
            return "new"
        return "again" if load(self.store.read_bytes(uri))["shard"] == shard else "other"

    def commit_clip(self, result: ClipResult) -> ClipResult | None:
        """Commit a clip's result, whatever its state. Returns it as a reader of the ledger gets it.

        None if the clip was committed before: the earlier result counts. Details are in the ledger
        only.
        """
        record = result_to_record(result)
        details = {} if result.details is None else {"details": result.details}
        created = self.store.create(self._done_uri(result.clip_id), dump(record | details))
        return result_from_record(load(dump(record))) if created else None

    def survey(self, clip: str) -> Survey:
        """The survey of a clip. Raises ClipFault(NOT_FOUND)."""
        result = self.store.find(self._done_uri(clip))
        if result is not None and (survey := survey_in(result)) is not None:
            return survey
        return Survey.from_json(self.store.read_bytes(layout.survey(self.uri, clip)))

    def result(self, clip: str, committed: ClipResult | None = None) -> ClipResult:
        """The committed result of a clip. Raises ClipFault(NOT_FOUND) if it has not ended.

        It is not read again if the caller has it, from `commit_clip`.
        """
        if committed is not None:
            self._results[clip] = committed
        if clip not in self._results:
            data = self.store.read_bytes(self._done_uri(clip))
            self._results[clip] = result_from_record(load(data))
        return self._results[clip]

    def done(self) -> dict[str, ClipResult]:
        """Every committed result by clip, in order. Each result is read only once."""
        uris = self.store.listing(layout.done_markers(self.uri))
        new = [uri for uri in uris if _stem(uri) not in self._results]
        for uri, data in self.store.read_many(new).items():
            self._results[_stem(uri)] = result_from_record(load(data))
        return dict(sorted(self._results.items()))

    def is_done(self, clip: str) -> bool:
        """Whether the clip is committed. Takes one request, even in a large run."""
        return clip in self._results or self.store.exists(self._done_uri(clip))

    def reopen(self, clip: str, *, ended_well: bool = False) -> None:
        """Delete the result and the segments of a clip with a reason code: the run tries it again.

        A clip without one is only reopened if it may have `ended_well`.
        """
        uri = self._done_uri(clip)
        data = self.store.find(uri)
        if data is None or (load(data).get("reason") is None and not ended_well):
            return
        for segment in list(self.store.listing(layout.segments(self.uri, clip))):
            self.store.delete(segment)
        self.store.delete(uri)
        self._results.pop(clip, None)

    def stop(self, reason: Reason) -> None:
        """Ask this session's workers to start no new work. The first reason counts."""
        self._looked = -STOP_SECONDS
        self.store.create(self._stop_uri(), dump({"reason": str(reason), "asked": _now()}))

    def stopped(self) -> Reason | None:
        """Why this session starts no new work; None if it does. One request in STOP_SECONDS."""
        now = time.monotonic()
        if self._stopped is None and now - self._looked >= STOP_SECONDS:
            self._looked = now
            if (data := self.store.find(self._stop_uri())) is not None:
                self._stopped = Reason(str(load(data)["reason"]))
        return self._stopped

    def finish(self, summary: Mapping[str, object]) -> None:
        """Write the summary. A run with a summary has ended and is never resumed."""
        self.store.write_bytes(layout.run_summary(self.uri), dump(summary))

    def tidy(self, kept: Container[str]) -> None:
        """Delete claims, attempts and progress of an ended run, but of the clips that are `kept`.

        They bound what kills workers, which no later session of this run will ask.
        """
        for folder in (
            layout.all_attempts(self.uri),
            layout.assembly_claims(self.uri),
            layout.progress(self.uri),
        ):
            uris = self.store.listing(folder)
            self.store.delete_many(uri for uri in uris if uri.rsplit("/", 2)[1] not in kept)

    def summary(self) -> Record | None:
        """The summary; None if the run is unfinished."""
        data = self.store.find(layout.run_summary(self.uri))
        return None if data is None else load(data)

    def _stop_uri(self) -> str:
        return layout.stop_marker(self.uri, _safe(self.session))

    def _done_uri(self, clip: str) -> str:
        return layout.done_marker(self.uri, _safe(clip))

    def _session_record(self) -> Record:
        return {"session": self.session, "started": _now()}

    def _attempts(self, clip: str) -> list[_Attempt]:
        """The clip's attempts, from two listings."""
        uris = list(self.store.listing(layout.attempts(self.uri, _safe(clip))))
        restored = self.store.listing(layout.segments(self.uri, _safe(clip))) if uris else ()
        whole = {int(_stem(uri)) for uri in restored if uri.endswith(".json")}
        ended = {uri.removesuffix(".end") for uri in uris if uri.endswith(".end")}
        begun = [uri for uri in uris if uri.endswith(".json")]
        places = {uri: _shard_and_number(uri) for uri in begun}
        restoring = any(shard >= 0 for shard, _ in places.values())  # a survey comes before it
        if uris and (restoring or self.store.exists(layout.survey(self.uri, _safe(clip)))):
            whole.add(SURVEY)
        latest: dict[int, int] = defaultdict(int)
        for shard, number in places.values():
            latest[shard] = max(latest[shard], number)
        return [
            _Attempt(
                uri,
                shard,
                n,
                ended=uri.removesuffix(".json") in ended or (shard in whole and n == latest[shard]),
                superseded=n < latest[shard],
            )
            for uri, (shard, n) in places.items()
        ]


def runs(out: str) -> list[str]:
    """The ids of all runs below OUT, oldest first."""
    return [name for name in storage.folders(layout.runs(out)) if re.fullmatch(RUN_ID, name)]


def unfinished(out: str, retry: RetryPolicy = NO_RETRIES) -> Iterator[Ledger]:
    """The runs that the next `submit` may resume."""
    for run in runs(out)[::-1][:_RUNS_SEARCHED]:
        ledger = Ledger(out, run, retry=retry)
        if ledger.summary() is None:
            yield ledger


def _newest_runs(out: str, retry: RetryPolicy) -> Iterator[tuple[str, Record]]:
    """Yield id and run.json of the newest runs, newest first."""
    for run in runs(out)[::-1][:_RUNS_SEARCHED]:
        try:
            yield run, Ledger(out, run, retry=retry).info()
        except ClipFault as fault:
            if fault.reason is not Reason.NOT_FOUND:  # a folder without run.json is no run
                raise


def _safe(name: str) -> str:
    """The name, if it is one harmless part of a path. Raises ValueError for any other."""
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not made of letters, digits, `.`, `_` and `-`")
    return name


def _stem(uri: str) -> str:
    return uri.rsplit("/", 1)[-1].removesuffix(".json")


def _shard_and_number(uri: str) -> tuple[int, int]:
    shard, number = _stem(uri).rsplit("-", 1)  # a negative shard stands for another step
    return int(shard), int(number)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
