"""The stages of the flow as functions of a row; Ray calls them, none of them knows Ray.

A row is ``{"clip_id", "kind", "body"}``: kind ``shard`` on its way, kind ``clip`` at its end, kind
``left`` where the run was stopped before; the body is JSON.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.assemble import assemble_clip
from pipeline.clip.shards import plan_shards
from pipeline.runs.ledger import WorkerId
from pipeline.runs.measures import shard_measures
from pipeline.runs.run import Row, failed, unchanged
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched, source_token
from pipeline.store import cache, storage
from pipeline.store.local import is_full
from pipeline.store.retry import outlast
from pipeline.survey import Survey, survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason

if TYPE_CHECKING:
    from pipeline.restore import ShardRestorer

DEATHS_ALLOWED = 3  # workers that one clip may kill in a session before it is quarantined
log = logging.getLogger(__name__)


class Cluster(Protocol):
    """What a stage may ask about where it runs."""

    def worker(self, session: str) -> WorkerId: ...
    def lost_nodes(self) -> set[str]: ...


def shard_row(clip: Row, body: Row) -> Row:
    return {"clip_id": clip["clip_id"], "kind": "shard", "body": json.dumps({"clip": clip} | body)}


def left_row(clip: Row, reason: Reason) -> Row:
    """A clip, or a shard of it, that was not begun: another session takes it up."""
    return {"clip_id": clip["clip_id"], "kind": "left", "body": json.dumps({"reason": reason})}


def ended(row: Row, settings: Settings) -> Row:
    """The clip's row as the flow carries it, committed: the first end a clip comes to is the one
    that counts. The copy of its source that this node has goes.
    """
    clip = str(row["clip_id"])
    settings.ledger.commit_clip(clip, row)
    cache.discard(str(row["source_uri"]), Path(settings.cache))
    return {"clip_id": clip, "kind": "clip", "body": json.dumps(row, default=str)}


def guarded(clip: Row, settings: Settings, work: Callable[[], Row]) -> Row:
    """The result of ``work``, tried again while its trouble may pass, or the clip's row with the
    reason it failed: nothing escapes, no row is lost.
    """
    try:
        return outlast(lambda: _in_our_words(work))
    except ClipFault as expected:
        fault = expected
    except Exception as error:  # a defect of ours must cost one clip, not the night
        log.exception("clip %s", clip["clip_id"])
        fault = ClipFault(Reason.INTERNAL, f"{type(error).__name__}: {error}")
    try:
        return ended(failed(clip, fault, settings), settings)
    except ClipFault as silence:  # its end cannot be written down: another session takes it up
        log.error("clip %s ended with %s, but %s", clip["clip_id"], fault, silence)
        return left_row(clip, Reason.SYSTEM_STOP)


def _in_our_words(work: Callable[[], Row]) -> Row:
    """The result of ``work``; a full disk is trouble that may pass, wherever it shows."""
    try:
        return work()
    except OSError as error:
        if not is_full(error):
            raise
        where = error.filename or tempfile.gettempdir()
        raise ClipFault(Reason.DISK_FULL, f"{where}: {error.strerror}") from error


class SurveyStage:
    """A manifest row in; a row for each shard out, or the clip's end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, row: Row) -> list[Row]:
        clip = json.loads(row["body"])
        rows: list[Row] = []

        def work() -> Row:
            if reason := self.settings.ledger.stopped():
                return left_row(clip, reason)
            survey = self._survey(clip)
            same = unchanged(clip, self.settings, survey.source_sha256)
            if same is not None:
                return ended(same, self.settings)
            shards = plan_shards(survey.shots, self.settings.of(clip).recipe.shard_frames)
            whole = {"shards": len(shards), "clip_frames": len(survey.pts)}
            rows.extend(
                shard_row(clip, whole | {"shard": s.index, "frames": len(s)}) for s in shards
            )
            return rows.pop()

        last = guarded(clip, self.settings, work)
        return [*rows, last]

    def _survey(self, clip: Row) -> Survey:
        """This run's survey of the clip, made anew when there is none or the source has changed
        since.
        """
        uri = survey_uri(self.settings, str(clip["clip_id"]))
        if storage.exists(uri):
            survey = Survey.from_json(storage.read_bytes(uri))
            if survey.source_token == source_token(str(clip["source_uri"])):
                return survey
        survey = survey_clip(clip, self.settings.of(clip).recipe, Path(self.settings.cache))
        storage.write_bytes(uri, survey.to_json())
        return survey


class Restoration:
    """A shard row in; the same row out with its segment in the ledger. Holds the loaded model."""

    def __init__(self, settings: Settings, cluster: Cluster, threads: int | None) -> None:
        from pipeline.restore import ShardRestorer  # PyTorch: only in workers that use the model

        self.settings, self.cluster = settings, cluster
        self._load = partial(ShardRestorer, threads=threads)
        self._restorers: dict[str, ShardRestorer] = {}  # by digest of the recipe

    def __call__(self, row: Row) -> Row:
        if row["kind"] != "shard":
            return row
        body = json.loads(row["body"])
        return guarded(body["clip"], self.settings, lambda: self._restore(body["clip"], body))

    def _restore(self, clip: Row, body: Row) -> Row:
        ledger, shard = self.settings.ledger, int(body["shard"])
        name = str(clip["clip_id"])
        if ledger.is_done(name):  # another shard of it has failed
            return shard_row(clip, body | {"dropped": True})
        if shard in ledger.segments(name):
            return shard_row(clip, body)
        if reason := ledger.stopped():
            return left_row(clip, reason)
        deaths = ledger.deaths(name, ledger.session, self.cluster.lost_nodes(), shard)
        if deaths >= DEATHS_ALLOWED:
            raise ClipFault(Reason.GPU_LOST, f"{deaths} workers died while restoring this clip")
        attempt = ledger.claim_attempt(name, shard, self.cluster.worker(ledger.session))
        try:
            record = self._segment(clip, shard, attempt)
        finally:
            ledger.end_attempt(name, shard, attempt)
        measures = shard_measures(record)
        return shard_row(clip, body | {"restored": True, "measures": measures})

    def _segment(self, clip: Row, index: int, attempt: int) -> Row:
        settings, name, begun = self.settings.of(clip), str(clip["clip_id"]), Usage.now()
        recipe = settings.recipe
        if recipe.digest not in self._restorers:
            self._restorers[recipe.digest] = self._load(recipe)
        restorer = self._restorers[recipe.digest]
        survey = Survey.from_json(storage.read_bytes(survey_uri(settings, name)))
        shard = plan_shards(survey.shots, recipe.shard_frames)[index]
        with (
            fetched(str(clip["source_uri"]), Path(settings.cache)) as source,
            tempfile.TemporaryDirectory(prefix="ar-shard-") as folder,
        ):
            path = Path(folder) / f"{index}.mkv"
            record = restorer.restore(source, survey, shard, path)
            uri = segment_uri(settings, name, index)
            storage.upload(path, uri)
            record |= {"uri": uri, "sha256": storage.sha256_file(path), "retries": attempt - 1}
            spent, on_gpu = begun.spent(), restorer.on_gpu
            record["seconds_cpu"] = round(spent.cpu, 3)
            record["seconds_gpu"] = round(spent.clock if on_gpu else 0.0, 3)
            settings.ledger.commit_segment(name, index, record)
        return record


class Assembly:
    """A shard row in; the clip's row out when it was the last one, else the shard row."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, row: Row) -> Row:
        if row["kind"] != "shard":
            return row
        body = json.loads(row["body"])
        return guarded(body["clip"], self.settings, lambda: self._assemble(row, body))

    def _assemble(self, row: Row, body: Row) -> Row:
        ledger, clip = self.settings.ledger, body["clip"]
        name = str(clip["clip_id"])
        if body.get("dropped") or ledger.is_done(name):
            return row
        segments = ledger.segments(name)
        if len(segments) < int(body["shards"]):
            return row
        if not ledger.claim_assembly(name, ledger.session, int(body["shard"])):
            return row
        survey = Survey.from_json(storage.read_bytes(survey_uri(self.settings, name)))
        result = assemble_clip(clip, survey, segments, self.settings.of(clip))
        message = ended(result, self.settings)
        for record in segments.values():
            storage.delete(str(record["uri"]))
        return message


def survey_uri(settings: Settings, clip: str) -> str:
    return storage.join(settings.ledger.uri, "survey", f"{clip}.json")


def segment_uri(settings: Settings, clip: str, shard: int) -> str:
    return storage.join(settings.ledger.uri, "segments", clip, f"{shard}.mkv")
