"""The stages of the flow as functions of typed values. An executor chains them.

A stage knows neither Ray nor the rows in which its values travel. Every clip ends with exactly one
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.assemble import assemble_clip
from pipeline.clip.clip import Clip
from pipeline.clip.segment import SegmentRecord, Segments, regions_beside
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone, ShardTask
from pipeline.detect.change_film import beside
from pipeline.ending import ended, guarded
from pipeline.runs.ledger import ASSEMBLY, SURVEY, Ledger, WorkerId
from pipeline.runs.measures import shard_measures
from pipeline.runs.results import accepted, unchanged
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.shard_progress import ShardProgress
from pipeline.sources.fetch import fetched, token_in_time
from pipeline.store import layout, storage
from pipeline.store.outage import patiently
from pipeline.store.private import temporary
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason

if TYPE_CHECKING:
    from pipeline.restore import ShardRestorer
    from schemas.recipe import Recipe

CARRIED = 16_384  # characters of a survey that may travel with its shard
DEATHS_ALLOWED = 3  # workers that one clip may kill in a session before it is quarantined


class Nodes(Protocol):
    """The nodes that a run works on, as a stage sees them."""

    gpu_share: float  # of a GPU's time and memory that a worker that restores may take

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""

    def lost_nodes(self) -> set[str]:
        """The ids of dead nodes. A worker that died with its node was not killed by the clip."""

    def room(self) -> int:
        """The memory in bytes that a worker that restores may take, on the smallest node."""


class SurveyStage:
    """In: a clip. Out: its shards, or the clip's end."""

    def __init__(self, settings: Settings, nodes: Nodes) -> None:
        self.settings, self.nodes = settings, nodes

    def __call__(self, clip: Clip) -> list[Item]:
        found = guarded(clip, self.settings, lambda: self._shards(clip))
        return found if isinstance(found, list) else [found]

    def _shards(self, clip: Clip) -> list[Item] | Item:
        if reason := self.settings.ledger.stopped():
            return ClipLeft(clip.clip_id, reason)
        survey, stored = self._survey(clip)
        same = unchanged(clip, self.settings, survey.source_sha256)
        if same is not None:
            return ended(same, self.settings)
        shards = plan_shards(survey.shots, self.settings.of(clip).recipe.shard_frames)
        count = len(survey.pts)
        text = survey.to_json().decode() if len(shards) == 1 else ""
        text = text if len(text) <= CARRIED else ""
        if not stored and not (text and survey.small):  # a small clip would be surveyed again
            uri = layout.survey(self.settings.ledger.uri, clip.clip_id)
            self.settings.store.write_bytes(uri, survey.to_json())
        return [ShardTask(clip, s.index, len(s), len(shards), count, text) for s in shards]

    def _survey(self, clip: Clip) -> tuple[Survey, bool]:
        """The survey of the clip, and whether this run has stored it.

        If the source has changed since, it is a new one.
        """
        settings = self.settings
        uri = layout.survey(settings.ledger.uri, clip.clip_id)
        stored = settings.store.find(uri) if settings.ledger.resumed else None
        if stored is not None:
            survey = Survey.from_json(stored)
            if survey.source_token == token_in_time(clip.source_uri):
                now = self._with_accepted(clip, survey)
                return now, now is survey
        with attempted(settings.ledger, clip.clip_id, SURVEY, self.nodes):
            cache, recipe = Path(settings.cache), settings.of(clip).recipe
            survey = patiently(
                lambda: survey_clip(clip, recipe, cache, self.nodes.room()),
                clip.source_uri, cache, settings.store.retry,
            )  # fmt: skip
        return self._with_accepted(clip, survey), False

    def _with_accepted(self, clip: Clip, survey: Survey) -> Survey:
        """The survey with the suspects that a person has accepted by now."""
        now = accepted(clip, self.settings)
        return survey if now == survey.accepted else replace(survey, accepted=now)


@contextmanager
def attempted(
    ledger: Ledger, clip: str, step: int, nodes: Nodes, before: int = 0
) -> Iterator[None]:
    """Record that this worker begins a step of a clip, and that it has survived it.

    Raises ClipFault(WORKER_LOST) if the step has killed DEATHS_ALLOWED workers, `before` among
    them.
    """
    number = ledger.claim_attempt(clip, step, nodes.worker(ledger.session))
    try:
        if number + before > 1:
            deaths = before + ledger.deaths(clip, ledger.session, nodes.lost_nodes())
            if deaths >= DEATHS_ALLOWED:
                what = "surveying" if step == SURVEY else "assembling"
                raise ClipFault(Reason.WORKER_LOST, f"{deaths} workers died {what} this clip")
        yield
    except BaseException:
        ledger.end_attempt(clip, step, number)
        raise
    if step != SURVEY:  # the survey itself is an end
        ledger.end_attempt(clip, step, number)


def survey_of(task: ShardTask, settings: Settings) -> Survey:
    """The survey that travels with a shard, else the ledger's. Raises ClipFault(NOT_FOUND)."""
    if task.survey:
        return Survey.from_json(task.survey.encode())
    uri = layout.survey(settings.ledger.uri, task.clip_id)
    return Survey.from_json(settings.store.read_bytes(uri))


class Restorers:
    """The models of a worker, one for each recipe. A model is loaded when it is first needed."""

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
    """In: a shard. Out: the same shard, with its segment in the ledger."""

    def __init__(self, settings: Settings, nodes: Nodes, restorers: Restorers) -> None:
        self.settings, self.nodes, self.restorers = settings, nodes, restorers

    def __call__(self, item: Item) -> Item:
        if not isinstance(item, ShardTask):
            return item
        return guarded(item.clip, self.settings, lambda: self._restore(item))

    def _restore(self, task: ShardTask) -> Item:
        ledger, clip = self.settings.ledger, task.clip_id
        me, reason = self.nodes.worker(ledger.session), ledger.stopped()
        if task.shards > 1 and ledger.is_done(clip):  # another shard of the clip has failed
            return ShardDone(task, "dropped", {})
        attempt = 1
        if reason or not ledger.begin_shard(clip, task.shard, me):
            if ledger.is_done(clip):
                return ShardDone(task, "dropped", {})
            if ledger.segment(clip, task.shard) is not None:
                return ShardDone(task, "resumed", {})
            if reason:
                return ClipLeft(clip, reason)
            deaths = ledger.deaths(clip, ledger.session, self.nodes.lost_nodes(), task.shard)
            if deaths >= DEATHS_ALLOWED:
                raise ClipFault(Reason.GPU_LOST, f"{deaths} workers died while restoring this clip")
            attempt = ledger.claim_attempt(clip, task.shard, me)
        try:
            with temporary("shard-") as folder:
                survey = survey_of(task, self.settings)
                segment = self._segment(task, survey, attempt, Path(folder))
                self._canaries(task, survey, attempt)
                small = is_small(task, survey)
                if small and not self._restorer(task).on_gpu:  # no GPU waits for an assembly
                    return ended_small(task.clip, survey, segment, self.settings)
                segment = self._stored(task, segment)
                if not small:
                    ledger.commit_segment(clip, segment)
        except BaseException:
            ledger.end_attempt(clip, task.shard, attempt)
            raise
        alone = segment if task.shards == 1 else None
        return ShardDone(task, "restored", shard_measures(segment), alone)

    def _segment(
        self, task: ShardTask, survey: Survey, attempt: int, folder: Path
    ) -> SegmentRecord:
        """Restore the shard into a folder of this machine. Its addresses are paths."""
        settings, begun = self.settings.of(task.clip), Usage.now()
        recipe, restorer = settings.recipe, self._restorer(task)
        shard = plan_shards(survey.shots, recipe.shard_frames)[task.shard]
        cache, path = Path(settings.cache), folder / f"{task.shard}.mkv"
        pause = inf if is_small(task, survey) else None  # it is too short to be watched
        progress = ShardProgress(settings.ledger, task.clip_id, task.shard, pause)
        with fetched(task.clip.source_uri, cache, survey.source_token) as source:
            segment = restorer.restore(source, survey, shard, path, progress, self.nodes.room())
        regions, changes = regions_beside(path), beside(path)
        sha256, spent = storage.sha256_file(path), begun.spent()
        return replace(
            segment, uri=str(path), sha256=sha256,
            regions_uri=str(regions) if regions.exists() else "",
            changes_uri=str(changes) if recipe.change_map else "",
            retries=attempt - 1, seconds_cpu=round(spent.cpu, 3),
            seconds_gpu=round(spent.clock * self.nodes.gpu_share if restorer.on_gpu else 0.0, 3),
        )  # fmt: skip

    def _canaries(self, task: ShardTask, survey: Survey, attempt: int) -> None:
        """Score planted damage. What killed an attempt is not tried again."""
        settings = self.settings.of(task.clip)
        if attempt == 1 and settings.recipe.canaries:
            from pipeline.measures.canary import write_canaries  # PyTorch, as above

            shard = plan_shards(survey.shots, settings.recipe.shard_frames)[task.shard]
            write_canaries(task.clip, survey, shard, settings, self._restorer(task).restorer)

    def _restorer(self, task: ShardTask) -> ShardRestorer:
        return self.restorers.of(self.settings.of(task.clip).recipe)

    def _stored(self, task: ShardTask, made: SegmentRecord) -> SegmentRecord:
        """Put the files of a segment into the ledger. Its record comes after them."""
        ledger = self.settings.ledger

        def upload(path: str, to: Callable[[str, str, int], str]) -> str:
            if path:
                ledger.store.upload(Path(path), uri := to(ledger.uri, task.clip_id, task.shard))
            return uri if path else ""

        return replace(
            made,
            uri=upload(made.uri, layout.segment_media),
            regions_uri=upload(made.regions_uri, layout.segment_regions),
            changes_uri=upload(made.changes_uri, layout.segment_changes),
        )


class AssembleStage:
    """In: a restored shard. Out: the clip's end after its last shard, else the same shard."""

    def __init__(self, settings: Settings, nodes: Nodes) -> None:
        self.settings, self.nodes = settings, nodes

    def __call__(self, item: Item) -> Item:
        if not isinstance(item, ShardDone):
            return item
        return guarded(item.task.clip, self.settings, lambda: self._assemble(item))

    def _assemble(self, done: ShardDone) -> Item:
        ledger, clip = self.settings.ledger, done.task.clip
        now = done.segment is not None  # nobody else can have ended the clip, unless it is claimed
        if done.outcome == "dropped" or (not now and ledger.is_done(clip.clip_id)):
            return done
        segments = self._segments(done)
        if len(segments) < done.task.shards:
            return done
        claim = ledger.claim_assembly(clip.clip_id, ledger.session, done.task.shard)
        if claim == "other" or (claim == "again" and now and ledger.is_done(clip.clip_id)):
            return done
        # The claim records the first attempt. So only a repeated assembly costs requests.
        again = attempted(ledger, clip.clip_id, ASSEMBLY, self.nodes, before=1)
        with nullcontext() if claim == "new" else again:
            survey = survey_of(done.task, self.settings)
            if now and is_small(done.task, survey):
                end = ended_small(clip, survey, segments[0], self.settings)
            else:
                result = assemble_clip(clip, survey, segments, self.settings.of(clip))
                end = ended(result, self.settings)
        for segment in segments.values():
            for uri in filter(None, (segment.uri, segment.regions_uri, segment.changes_uri)):
                self.settings.store.delete(uri)
        return end

    def _segments(self, done: ShardDone) -> Segments:
        task = done.task
        if task.shards > 1:
            return self.settings.ledger.segments(task.clip_id)
        only = done.segment or self.settings.ledger.segment(task.clip_id, 0)
        return {} if only is None else {0: only}


def is_small(task: ShardTask, survey: Survey) -> bool:
    """Whether the ledger keeps nothing of the task's clip before its result."""
    return bool(task.survey) and survey.small


def ended_small(
    clip: Clip, survey: Survey, segment: SegmentRecord, settings: Settings
) -> ClipEnded:
    """Make a small clip from its only segment: its result is its only record.

    If the worker dies before that, the clip begins again.
    """
    segments = {segment.shard: segment}
    result = assemble_clip(clip, survey, segments, settings.of(clip), small=True)
    return ended(result, settings)
