"""One run in the driver: the clips to do, their results, the tables and the summary."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Self, cast

from models.network.weights import pinned
from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone, ShardTask
from pipeline.runs.audit import AuditLog
from pipeline.runs.breaker import Breaker
from pipeline.runs.closing import Closing, Devices, RunSummary
from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from pipeline.runs.measures import clip_measures
from pipeline.runs.order import embargo, in_order
from pipeline.runs.quarantine import FAULTY, Quarantine
from pipeline.runs.results import common_columns, failed, unchanged
from pipeline.runs.row import Record
from pipeline.runs.settings import Settings
from pipeline.store import layout
from pipeline.store.private import private_folder
from pipeline.store.retry import NO_RETRIES, RetryPolicy
from pipeline.store.storage import Store
from schemas.errors import ArchiveError, ClipFault
from schemas.exit_codes import ExitCode
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook, as_book

LISTED = 1000  # names in one answer to a listing
KNOWN = 10_000  # published clips of which a session tells its workers


class Run:
    """Open or resume a run, give out its clips, take their results, close with a summary."""

    def __init__(
        self, clips: Sequence[Clip], settings: Settings, progress: Callable[[Event], None]
    ) -> None:
        self.settings, self._progress = settings, progress
        self._started = time.monotonic()
        self.devices: Devices | None = None  # of the executor; None if nothing was restored
        self._clips = {clip.clip_id: clip for clip in clips}
        self._ended: dict[str, ClipResult] = {}
        self._left: dict[str, Reason] = {}
        self._breaker = Breaker()
        self._audit = AuditLog(settings.out, settings.store)
        self._quarantine = Quarantine(settings)
        self._audited = self._begin()
        self._surveyed: set[str] = set()
        for result in settings.ledger.done().values():
            self._end(result)
        for clip in self._waiting():
            if (known := self._without_work(clip)) is not None:
                settings.ledger.commit_clip(known)
                self._end(known)
        self._audit.flush()  # ends that an earlier session did not log
        self.todo: list[Clip] = in_order(self._waiting())

    @classmethod
    def open(
        cls,
        manifest: str,
        clips: Sequence[Clip],
        out: str,
        recipes: Recipe | RecipeBook,
        progress: Callable[[Event], None],
        retry: RetryPolicy = NO_RETRIES,
    ) -> Self:
        """The unfinished run with the same manifest, recipes, weights and code, else a new one.

        Raises ArchiveError if a clip names a recipe that does not exist.
        """
        book = as_book(recipes)
        for clip in clips:
            book.of(clip.recipe, clip.collection)
        recipe = book.default
        content = json.dumps([clip.to_dict() for clip in clips], sort_keys=True).encode()
        weights, code = pinned(recipe.model), version("archive-restore")
        identity = {
            "manifest": hashlib.sha256(content).hexdigest(), "manifest_uri": manifest,
            "recipe": book.digest, "weights": weights, "code": code,
        }  # fmt: skip
        ledger = Ledger.open_or_resume(out, identity, retry)
        _write_recipes(ledger, book)
        cache = private_folder("sources")
        there = _published(out, clips, ledger.store)
        settings = Settings(ledger, recipe, weights, code, str(cache), book, there)
        work = cls(clips, settings, progress)
        total, done = len(work._clips), len(work._ended)
        progress(
            Event(kind="run", run=ledger.run, sentence=f"run {ledger.run}", done=done, total=total)
        )
        return work

    def _begin(self) -> set[str]:
        """Log the start of this session. Return the clips whose end is in the log already."""
        ledger, settings = self.settings.ledger, self.settings
        resumed = len(cast(list[Record], ledger.info()["sessions"])) > 1
        audited = self._audit.clips(ledger.run) if resumed else set()
        self._audit.append(
            "run_resumed" if resumed else "run_started", run=ledger.run, clips=len(self._clips),
            recipe_sha256=settings.recipe.digest, weights_sha256=settings.weights_sha256,
            code=settings.code,
        )  # fmt: skip
        return audited

    def _waiting(self) -> list[Clip]:
        return [clip for name, clip in self._clips.items() if name not in self._ended]

    def _without_work(self, clip: Clip) -> ClipResult | None:
        """The result of a clip that is under embargo, up to date or quarantined, else None.

        The source of a clip under embargo is not read.
        """
        if held := embargo(clip):
            return failed(clip, held, self.settings)
        if same := unchanged(clip, self.settings):
            return same
        if case := self._quarantine.skipped(clip):
            columns = common_columns(clip, self.settings, "quarantined")
            return ClipResult(columns).having(**case)
        return None

    def take(self, item: Item) -> None:
        """Take a value from the last stage: a restored shard, an ended clip, or a clip left.

        Raises ArchiveError if the ledger could not be written: the run is aborted.
        """
        match item:
            case ClipEnded(clip_id, committed):
                self._end(result := self.settings.ledger.result(clip_id, committed))
                if self._breaker.saw(result):
                    self._trip()
            case ClipLeft(clip_id, reason, sentence):
                self._left[clip_id] = reason
                if sentence:
                    raise aborted(sentence)
            case ShardTask():
                self._survey(item)
            case ShardDone(task, outcome, figures):
                self._survey(task)
                if outcome == "restored":
                    self._progress(Event(
                        kind="shard", clip_id=task.clip_id, shard=task.shard, frames=task.frames,
                        seconds=figures["seconds_model"], measures=figures,
                        done=len(self._ended), total=len(self._clips),
                    ))  # fmt: skip

    def _survey(self, task: ShardTask) -> None:
        if task.clip_id not in self._surveyed:
            self._surveyed.add(task.clip_id)
            frames = task.clip_frames
            self._progress(Event(kind="survey", clip_id=task.clip_id, frames=frames))

    def _trip(self) -> None:
        """Start no new work: the other clips would fail with the same reason."""
        self.settings.ledger.stop(Reason.SYSTEM_STOP)
        self._progress(Event(kind="note", sentence=self._breaker.sentence))

    def _end(self, result: ClipResult) -> None:
        clip = result.clip_id
        if clip in self._ended or clip not in self._clips:
            return
        self._ended[clip] = result
        self._note(result)
        self._progress(Event(
            kind="clip", clip_id=clip, frames=int(result.number("frames") or 0),
            state=result.state, reason=str(result.reason or ""), sentence=result.sentence,
            done=len(self._ended), total=len(self._clips), measures=clip_measures(result),
        ))  # fmt: skip

    def _note(self, result: ClipResult) -> None:
        """Update the clip's case in the quarantine and write its entry in the audit log."""
        if result.reason is Reason.EMBARGOED:  # not a fault
            return
        tried = self._quarantine.ended(self._clips[result.clip_id], result)
        if tried and result.state != "up_to_date" and result.clip_id not in self._audited:
            facts = {
                name: result.columns.get(name) for name in ("reason", "output_sha256", "work_key")
            }
            run = self.settings.ledger.run
            self._audit.note(f"clip_{result.state}", run=run, clip_id=result.clip_id, **facts)

    def close(self, max_review: int | None = None) -> RunSummary:
        """Check that every clip has ended, write the tables and return the summary.

        Its exit code is REVIEW if all is well, but more than `max_review` clips need review.

        If a stop has left clips, the run stays unfinished and the next session resumes it. The rows
        of these clips are in the tables, but not in the ledger.
        """
        ledger = self.settings.ledger
        if self._waiting():  # a node may be lost with the row of an ended clip
            for result in ledger.done().values():
                self._end(result)
        for clip in self._waiting():  # the flow must return every clip
            if clip.clip_id not in self._left:
                fault = ClipFault(Reason.INTERNAL, "the flow ended without a result for this clip")
                result = failed(clip, fault, self.settings)
                ledger.commit_clip(result)
                self._end(result)
        closing = self._closing(max_review)
        summary = closing.summary()
        closing.write_tables(summary)
        self._audit.append(
            "run_stopped" if closing.left else "run_ended", run=summary["run"],
            clips=summary["clips"], left=summary["left"], exit_code=summary["exit_code"],
        )  # fmt: skip
        if not closing.left:
            ledger.finish(summary)
            self._tidy()
        elif self._breaker.tripped:  # the system failed, not these clips
            for name in self._breaker.clips:
                ledger.reopen(name)
        return summary

    def _tidy(self) -> None:
        """Delete what only an unfinished run needs. Attempts at faulty clips stay for people."""
        kept = {clip for clip, result in self._ended.items() if result.state in FAULTY}
        try:
            self.settings.ledger.tidy(kept)
        except ClipFault as fault:  # the run has ended all the same
            self._progress(Event(kind="note", sentence=f"old attempts were not deleted: {fault}"))

    def _closing(self, max_review: int | None) -> Closing:
        left = {clip.clip_id: self._left[clip.clip_id] for clip in self._waiting()}
        ends = {
            name: failed(
                self._clips[name], ClipFault(reason, REASONS[reason].meaning), self.settings
            )
            for name, reason in left.items()
        }
        seconds = round(time.monotonic() - self._started, 3)
        stopped = self._breaker.sentence if self._breaker.tripped else ""
        results = self._ended | ends
        return Closing(
            self.settings, results, left, seconds, self.devices, stopped, max_review
        )  # fmt: skip


def aborted(why: str) -> ArchiveError:
    """The error of a run that cannot continue."""
    return ArchiveError(
        f"the run was aborted: {why}. Finished work is kept. Start the command again to continue.",
        exit_code=ExitCode.FAILED,
    )


def _published(out: str, clips: Sequence[Clip], store: Store) -> frozenset[str] | None:
    """The clips that have a folder of published files, from one listing.

    None if asking for each clip costs less: in an output of far more clips than the run has.
    """
    most = LISTED * max(1, len(clips) // 10)
    there = store.folders(layout.clips(out), most)
    known = frozenset(there) & {clip.clip_id for clip in clips}
    return known if len(there) <= most and len(known) <= KNOWN else None


def _write_recipes(ledger: Ledger, book: RecipeBook) -> None:
    """Write the run's recipes into its ledger."""
    texts = {layout.run_recipe(ledger.uri): book.default.to_toml()}
    if book.named:
        texts |= {layout.named_recipe(ledger.uri, name): text for name, text in book.files()}
    for uri, text in texts.items():
        ledger.store.write_bytes(uri, text.encode())
