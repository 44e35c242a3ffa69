"""One run as the driver sees it: what is to do, what came back, the tables and the summary."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from models.network.weights import pinned
from pipeline.runs.audit import AuditLog
from pipeline.runs.breaker import Breaker
from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from pipeline.runs.measures import clip_measures
from pipeline.runs.order import embargo, in_order
from pipeline.runs.quarantine import Quarantine
from pipeline.runs.settings import Settings
from pipeline.runs.stop import EXIT_CODES
from pipeline.runs.tables import write_tables
from pipeline.sources.fetch import source_token
from pipeline.store import storage
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook, as_book

Row = dict[str, Any]

STATES = ("published", "up_to_date", "untouched", "held", "quarantined", "failed")


class Run:
    """Opens or resumes a run, hands out rows, takes results back, closes with a summary."""

    def __init__(
        self, rows: list[Row], settings: Settings, progress: Callable[[Event], None]
    ) -> None:
        self.settings, self._progress = settings, progress
        self._started = time.monotonic()
        self.device: str | None = None  # what the flow restores on, and on how many
        self.workers: int | None = None
        self._rows = {str(row["clip_id"]): row for row in rows}
        self._ended: dict[str, Row] = {}
        self._left: dict[str, Reason] = {}
        self._breaker = Breaker()
        self._audit, self._quarantine = AuditLog(settings.out), Quarantine(settings)
        self._audited = self._begin()
        self._surveyed: set[str] = set()
        for clip, row in settings.ledger.done().items():
            self._end(clip, row)
        for clip in self._waiting():
            same = self._embargoed(clip) or unchanged(self._rows[clip], settings)
            same = same or self._skipped(clip)
            if same is not None:
                settings.ledger.commit_clip(clip, same)
                self._end(clip, same)
        waiting = [self._rows[clip] for clip in self._waiting()]
        self.todo = [
            {"clip_id": str(row["clip_id"]), "body": json.dumps(row, default=str)}
            for row in in_order(waiting)
        ]

    @classmethod
    def open(
        cls,
        manifest: str,
        rows: list[Row],
        out: str,
        recipes: Recipe | RecipeBook,
        progress: Callable[[Event], None],
    ) -> Self:
        """The unfinished run of the same manifest, recipes, weights and code, else a new one.

        Raises ArchiveError where a row names a recipe that there is none of.
        """
        book = as_book(recipes)
        book.check(rows)
        recipe = book.default
        content = json.dumps(rows, sort_keys=True, default=str).encode()
        weights, code = pinned(recipe.model), version("archive-restore")
        identity = {
            "manifest": hashlib.sha256(content).hexdigest(), "manifest_uri": manifest,
            "recipe": book.digest, "weights": weights, "code": code,
        }  # fmt: skip
        ledger = Ledger.open_or_resume(out, identity)
        storage.write_bytes(storage.join(ledger.uri, "recipe.toml"), recipe.to_toml().encode())
        for name, text in book.files() if book.named else ():
            storage.write_bytes(storage.join(ledger.uri, "recipes", name), text.encode())
        cache = Path(tempfile.gettempdir()) / "archive-restore"
        work = cls(rows, Settings(ledger, recipe, weights, code, str(cache), book), progress)
        total, done = len(work._rows), len(work._ended)
        progress(
            Event(kind="run", run=ledger.run, sentence=f"run {ledger.run}", done=done, total=total)
        )
        return work

    def _begin(self) -> set[str]:
        """Note the begin of this session; the clips whose end earlier ones have noted."""
        ledger, settings = self.settings.ledger, self.settings
        resumed = len(list(ledger.info()["sessions"])) > 1  # type: ignore[call-overload]
        audited = self._audit.clips(ledger.run) if resumed else set()
        self._audit.append(
            "run_resumed" if resumed else "run_started", run=ledger.run, clips=len(self._rows),
            recipe_sha256=settings.recipe.digest, weights_sha256=settings.weights_sha256,
            code=settings.code,
        )  # fmt: skip
        return audited

    def _skipped(self, clip: str) -> Row | None:
        """The row of a clip that waits in the quarantine, else None."""
        why = self._quarantine.skipped(self._rows[clip])
        return why and clip_row(self._rows[clip], self.settings, "quarantined") | why

    def _embargoed(self, clip: str) -> Row | None:
        """The row of a clip whose embargo is not over, else None; its source is not looked at."""
        held = embargo(self._rows[clip])
        return failed(self._rows[clip], held, self.settings) if held else None

    def _waiting(self) -> list[str]:
        return [clip for clip in self._rows if clip not in self._ended]

    def take(self, row: Row) -> None:
        """One row that came out of the flow: a restored shard, a clip at its end, or what a stop
        has left.
        """
        body = json.loads(row["body"])
        if row["kind"] == "clip":
            self._end(row["clip_id"], body)
            if self._breaker.saw(row["clip_id"], body):
                self._break_off()
            return
        if row["kind"] == "left":
            self._left[row["clip_id"]] = Reason(body["reason"])
            return
        if row["clip_id"] not in self._surveyed:
            self._surveyed.add(row["clip_id"])
            frames = int(body["clip_frames"])
            self._progress(Event(kind="survey", clip_id=row["clip_id"], frames=frames))
        if body.get("restored"):
            self._progress(Event(
                kind="shard", clip_id=row["clip_id"], shard=body["shard"],
                frames=body["frames"], seconds=body["measures"]["seconds_model"],
                measures=body["measures"], done=len(self._ended), total=len(self._rows),
            ))  # fmt: skip

    def _break_off(self) -> None:
        """Begin nothing more: the rest would fail like those before."""
        self.settings.ledger.stop(Reason.SYSTEM_STOP)
        self._progress(Event(kind="note", sentence=self._breaker.sentence))

    def _end(self, clip: str, row: Mapping[str, Any]) -> None:
        if clip in self._ended or clip not in self._rows:
            return
        self._ended[clip] = dict(row)
        embargoed = row.get("reason") == Reason.EMBARGOED  # no news, and no fault
        tried = not embargoed and self._quarantine.ended(self._rows[clip], row)
        if tried and row["state"] != "up_to_date" and clip not in self._audited:
            facts = {name: row.get(name) for name in ("reason", "output_sha256", "work_key")}
            self._audit.append(
                f"clip_{row['state']}", run=self.settings.ledger.run, clip_id=clip, **facts
            )
        self._progress(Event(
            kind="clip", clip_id=clip, frames=int(row.get("frames") or 0), state=str(row["state"]),
            reason=str(row.get("reason") or ""), sentence=str(row.get("sentence") or ""),
            done=len(self._ended), total=len(self._rows), measures=clip_measures(row),
        ))  # fmt: skip

    def close(self) -> dict[str, Any]:
        """Account for every clip, write the tables and return the summary.

        Where a stop has left clips the run stays unfinished, and the next one goes on with it;
        their rows are in the tables and not in the ledger.
        """
        if self._waiting():  # the row of a clip at its end may have died with its node
            for clip, row in self.settings.ledger.done().items():
                self._end(clip, row)
        for clip in self._waiting():  # the flow must return every clip: none is lost unseen
            if clip not in self._left:
                fault = ClipFault(Reason.INTERNAL, "the flow ended without a result for this clip")
                row = failed(self._rows[clip], fault, self.settings)
                self.settings.ledger.commit_clip(clip, row)
                self._end(clip, row)
        left = {clip: self._left[clip] for clip in self._waiting()}
        rows = self._ended | {
            clip: failed(
                self._rows[clip], ClipFault(reason, REASONS[reason].meaning), self.settings
            )
            for clip, reason in left.items()
        }
        summary = self._summary(rows, left)
        self._write_tables(rows, summary)
        result = {name: summary[name] for name in ("run", "clips", "left", "exit_code")}
        self._audit.append("run_stopped" if left else "run_ended", **result)
        if not left:
            self.settings.ledger.finish(summary)
        elif self._breaker.tripped:  # they are not to blame: the next session tries them as well
            for clip in self._breaker.clips:
                self.settings.ledger.reopen(clip)
        return summary

    def _summary(self, rows: Mapping[str, Row], left: Mapping[str, Reason]) -> dict[str, Any]:
        states = Counter(str(row["state"]) for row in rows.values())
        seconds = round(time.monotonic() - self._started, 3)
        published = (row for row in rows.values() if row["state"] == "published")
        frames = sum(int(row.get("frames") or 0) for row in published)
        faults = sum(states[state] for state in ("held", "quarantined", "failed"))
        faults -= sum(row.get("reason") == Reason.EMBARGOED for row in rows.values())
        stopped = max((EXIT_CODES[reason] for reason in left.values()), default=0)
        return {
            "run": self.settings.ledger.run,
            "exit_code": stopped or (3 if faults else 0),
            "clips": {state: states[state] for state in STATES},
            "left": len(left),
            "frames": frames, "seconds": seconds,
            "fps": round(frames / seconds, 3) if seconds else 0.0,
            "out": self.settings.out,
            **({"stopped": self._breaker.sentence} if self._breaker.tripped else {}),
        }  # fmt: skip

    def _write_tables(self, rows: Mapping[str, Row], summary: dict[str, Any]) -> None:
        ledger, settings = self.settings.ledger, self.settings
        info = ledger.info()
        identity: dict[str, Any] = info["identity"]  # type: ignore[assignment]
        clips, shots, frames = [], [], []
        for clip in sorted(rows):
            row = dict(rows[clip])
            shots += row.pop("shot_rows", [])
            series = row.pop("series_uri", None)
            if series:
                frames += json.loads(storage.read_bytes(series))
            clips.append(row)
        run_row = {
            "manifest_uri": identity["manifest_uri"], "manifest_sha256": identity["manifest"],
            "recipe": settings.recipe.name,
            "run": ledger.run, "started": info["started"], "sessions": len(list(info["sessions"])),  # type: ignore[call-overload]
            "model": settings.recipe.model, "weights_sha256": settings.weights_sha256,
            "recipe_sha256": settings.recipe.digest, "code": settings.code, "clips": len(clips),
            "device": self.device, "workers": self.workers,
            **dict(summary["clips"].items()),
            **{key: summary[key] for key in ("frames", "seconds", "fps", "exit_code")},
        }  # fmt: skip
        write_tables(
            settings.out, ledger.run, str(info["started"])[:10], clips, shots, frames, run_row
        )


def clip_row(row: Mapping[str, Any], settings: Settings, state: str) -> Row:
    """The columns of tables/clips that every clip has, whatever became of it."""
    settings = settings.of(row)
    return {
        "clip_id": str(row["clip_id"]), "run": settings.ledger.run, "state": state,
        "reason": None, "sentence": None, "next_step": None,
        "source_uri": str(row["source_uri"]), "collection": row.get("collection"),
        "access_class": row.get("access_class"),
        "model": settings.recipe.model, "weights_sha256": settings.weights_sha256,
        "recipe_sha256": settings.recipe.digest,
    }  # fmt: skip


def failed(row: Mapping[str, Any], fault: ClipFault, settings: Settings) -> Row:
    """The row of a clip that ends with a reason code."""
    return clip_row(row, settings, fault.state) | {
        "reason": str(fault.reason), "sentence": fault.sentence, "next_step": fault.next_step,
    }  # fmt: skip


def published_record(row: Row, settings: Settings) -> Row | None:
    """The record beside a clip's published file, if there is one."""
    uri = settings.of(row).clip_uri(row, ".json")
    if not storage.exists(uri):
        return None
    return dict(json.loads(storage.read_bytes(uri)))


def unchanged(row: Row, settings: Settings, source_sha256: str | None = None) -> Row | None:
    """The row of a clip whose published file is the result of just this work, else None.

    Without a checksum the source's size and modification mark decide, so that a night with nothing
    to do reads no source.
    """
    record = published_record(row, settings)
    if record is None:
        return None
    if source_sha256 is None:
        expected = str(row.get("checksum") or "").lower()
        if expected and expected not in (record["source_sha256"], record.get("source_md5")):
            return None
        try:
            if record["source_token"] != source_token(str(row["source_uri"])):
                return None
        except ClipFault:
            return None  # the survey says what is wrong with the source
        source_sha256 = str(record["source_sha256"])
    if record["work_key"] != settings.of(row).work_key(source_sha256, row):
        return None
    kept = {k: v for k, v in record["row"].items() if k not in ("series_uri", "shot_rows")}
    return kept | clip_row(row, settings, "up_to_date")
