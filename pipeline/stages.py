"""The stages of the flow as functions of typed values; an executor chains them.

A stage neither knows Ray nor how its values travel. Every clip ends as exactly one result.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipeline.assemble import assemble_clip
from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone, ShardTask
from pipeline.runs.ledger import WorkerId
from pipeline.runs.measures import shard_measures
from pipeline.runs.results import failed, unchanged
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched, source_token
from pipeline.store import cache, storage
from pipeline.store.local import is_full
from pipeline.store.private import temporary
from pipeline.store.retry import with_retries
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason

if TYPE_CHECKING:
    from pipeline.restore import ShardRestorer
    from schemas.recipe import Recipe

DEATHS_ALLOWED = 3  # workers that one clip may kill in a session before it is quarantined
T = TypeVar("T")
log = logging.getLogger(__name__)


class Nodes(Protocol):
    """What a stage may ask about where it runs."""

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""

    def lost_nodes(self) -> set[str]:
        """Nodes that are dead: a worker that died with one was not killed by the clip."""


class SurveyStage:
    """A clip in; its shards out, or the clip's end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, clip: Clip) -> list[Item]:
        found = guarded(clip, self.settings, lambda: self._shards(clip))
        return found if isinstance(found, list) else [found]

    def _shards(self, clip: Clip) -> list[Item] | Item:
        if reason := self.settings.ledger.stopped():
            return ClipLeft(clip.clip_id, reason)
        survey = self._survey(clip)
        same = unchanged(clip, self.settings, survey.source_sha256)
        if same is not None:
            return ended(same, self.settings)
        shards = plan_shards(survey.shots, self.settings.of(clip).recipe.shard_frames)
        count = len(survey.pts)
        return [ShardTask(clip, s.index, len(s), len(shards), count) for s in shards]

    def _survey(self, clip: Clip) -> Survey:
        """This run's survey of the clip, made anew if the source has changed since."""
        settings = self.settings
        uri = survey_uri(settings, clip.clip_id)
        if settings.store.exists(uri):
            survey = Survey.from_json(settings.store.read_bytes(uri))
            if survey.source_token == source_token(clip.source_uri):
                return survey
        survey = survey_clip(clip, settings.of(clip).recipe, Path(settings.cache))
        settings.store.write_bytes(uri, survey.to_json())
        return survey


class Restorers:
    """The loaded models of a worker, one for each recipe; a model is loaded when it is needed."""

    def __init__(self, threads: int | None) -> None:
        self.threads = threads
        self._loaded: dict[str, ShardRestorer] = {}  # by digest of the recipe

    def of(self, recipe: Recipe) -> ShardRestorer:
        """The restorer of a recipe."""
        from pipeline.restore import ShardRestorer  # PyTorch: only in workers that use the model

        if recipe.digest not in self._loaded:
            self._loaded[recipe.digest] = ShardRestorer(recipe, self.threads)
        return self._loaded[recipe.digest]


class RestoreStage:
    """A shard in; the same shard out with its segment in the ledger."""

    def __init__(self, settings: Settings, nodes: Nodes, restorers: Restorers) -> None:
        self.settings, self.nodes, self.restorers = settings, nodes, restorers

    def __call__(self, item: Item) -> Item:
        if not isinstance(item, ShardTask):
            return item
        return guarded(item.clip, self.settings, lambda: self._restore(item))

    def _restore(self, task: ShardTask) -> Item:
        ledger, clip = self.settings.ledger, task.clip_id
        if ledger.is_done(clip):  # another shard of it has failed
            return ShardDone(task, "dropped", {})
        if task.shard in ledger.segments(clip):
            return ShardDone(task, "resumed", {})
        if reason := ledger.stopped():
            return ClipLeft(clip, reason)
        deaths = ledger.deaths(clip, ledger.session, self.nodes.lost_nodes(), task.shard)
        if deaths >= DEATHS_ALLOWED:
            raise ClipFault(Reason.GPU_LOST, f"{deaths} workers died while restoring this clip")
        attempt = ledger.claim_attempt(clip, task.shard, self.nodes.worker(ledger.session))
        try:
            segment = self._segment(task, attempt)
        finally:
            ledger.end_attempt(clip, task.shard, attempt)
        return ShardDone(task, "restored", shard_measures(segment))

    def _segment(self, task: ShardTask, attempt: int) -> SegmentRecord:
        settings, begun = self.settings.of(task.clip), Usage.now()
        recipe, store = settings.recipe, settings.store
        restorer = self.restorers.of(recipe)
        survey = Survey.from_json(store.read_bytes(survey_uri(settings, task.clip_id)))
        shard = plan_shards(survey.shots, recipe.shard_frames)[task.shard]
        with (
            fetched(task.clip.source_uri, Path(settings.cache)) as source,
            temporary("shard-") as folder,
        ):
            path = Path(folder) / f"{task.shard}.mkv"
            segment = restorer.restore(source, survey, shard, path)
            uri = segment_uri(settings, task.clip_id, task.shard)
            store.upload(path, uri)
            sha256, spent = storage.sha256_file(path), begun.spent()
            segment = replace(
                segment, uri=uri, sha256=sha256, retries=attempt - 1,
                seconds_cpu=round(spent.cpu, 3),
                seconds_gpu=round(spent.clock if restorer.on_gpu else 0.0, 3),
            )  # fmt: skip
            settings.ledger.commit_segment(task.clip_id, segment)
        return segment


class AssembleStage:
    """A restored shard in; the clip's end out if it was the last shard, else the shard."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, item: Item) -> Item:
        if not isinstance(item, ShardDone):
            return item
        return guarded(item.task.clip, self.settings, lambda: self._assemble(item))

    def _assemble(self, done: ShardDone) -> Item:
        ledger, clip = self.settings.ledger, done.task.clip
        if done.outcome == "dropped" or ledger.is_done(clip.clip_id):
            return done
        segments = ledger.segments(clip.clip_id)
        if len(segments) < done.task.shards:
            return done
        if not ledger.claim_assembly(clip.clip_id, ledger.session, done.task.shard):
            return done
        store = self.settings.store
        survey = Survey.from_json(store.read_bytes(survey_uri(self.settings, clip.clip_id)))
        end = ended(assemble_clip(clip, survey, segments, self.settings.of(clip)), self.settings)
        for segment in segments.values():
            store.delete(segment.uri)
        return end


def guarded(clip: Clip, settings: Settings, work: Callable[[], T]) -> T | ClipEnded | ClipLeft:
    """The result of ``work``, repeated while its fault is transient, or the clip's failed end.

    Nothing escapes, and no clip is lost.
    """
    try:
        return with_retries(lambda: _disk_full_as_fault(work), settings.store.retry)
    except ClipFault as expected:
        fault = expected
    except Exception as error:  # a defect of ours must cost one clip, not the night
        log.exception("clip %s", clip.clip_id)
        fault = ClipFault(Reason.INTERNAL, f"{type(error).__name__}: {error}")
    try:
        return ended(failed(clip, fault, settings), settings)
    except ClipFault as unwritten:  # another session begins with the clip again
        log.error("clip %s ended with %s, but %s", clip.clip_id, fault, unwritten)
        return ClipLeft(clip.clip_id, Reason.SYSTEM_STOP, str(unwritten))


def ended(result: ClipResult, settings: Settings) -> ClipEnded:
    """Commit a clip's result; the first result of a clip counts. Frees the copy of its source."""
    settings.ledger.commit_clip(result)
    cache.discard(str(result.columns["source_uri"]), Path(settings.cache))
    return ClipEnded(result.clip_id)


def _disk_full_as_fault(work: Callable[[], T]) -> T:
    """The result of ``work``; a full disk is a transient fault, wherever it shows."""
    try:
        return work()
    except OSError as error:
        if not is_full(error):
            raise
        where = error.filename or tempfile.gettempdir()
        raise ClipFault(Reason.DISK_FULL, f"{where}: {error.strerror}") from error


def survey_uri(settings: Settings, clip: str) -> str:
    """Where the survey of a clip is kept."""
    return storage.join(settings.ledger.uri, "survey", f"{clip}.json")


def segment_uri(settings: Settings, clip: str, shard: int) -> str:
    """Where the media file of a segment is kept until its clip is assembled."""
    return storage.join(settings.ledger.uri, "segments", clip, f"{shard}.mkv")
