"""How clips end: the result of one that failed, of one that is up to date, and what all share."""

from __future__ import annotations

import json

from pipeline.clip.clip import Clip
from pipeline.clip.result import Cell, ClipResult
from pipeline.runs.row import Row, result_from_record
from pipeline.runs.settings import Settings
from pipeline.sources.fetch import source_token
from pipeline.store.retry import with_retries
from schemas.errors import ClipFault


def common_columns(clip: Clip, settings: Settings, state: str) -> dict[str, Cell]:
    """The columns of tables/clips that every clip has, however it ended."""
    settings = settings.of(clip)
    return {
        "clip_id": clip.clip_id,
        "run": settings.ledger.run,
        "state": state,
        "reason": None,
        "sentence": None,
        "next_step": None,
        "source_uri": clip.source_uri,
        "collection": clip.collection,
        "access_class": clip.access_class,
        "model": settings.recipe.model,
        "weights_sha256": settings.weights_sha256,
        "recipe_sha256": settings.recipe.digest,
    }


def failed(clip: Clip, fault: ClipFault, settings: Settings) -> ClipResult:
    """The result of a clip that ends with a reason code."""
    return ClipResult(common_columns(clip, settings, fault.state)).having(
        reason=str(fault.reason), sentence=fault.sentence, next_step=fault.next_step
    )


def unchanged(
    clip: Clip, settings: Settings, source_sha256: str | None = None
) -> ClipResult | None:
    """The result of a clip whose published file has the same work key, else None.

    If the checksum is not known, the source's size and modification time decide: a night with
    nothing to do reads no source.
    """
    record = _published_record(clip, settings)
    if record is None:
        return None
    if source_sha256 is None:
        if not _same_source(clip, record, settings):
            return None
        source_sha256 = str(record["source_sha256"])
    if record["work_key"] != settings.of(clip).work_key(source_sha256, clip):
        return None
    published = result_from_record(record["row"])
    return ClipResult({**published.columns, **common_columns(clip, settings, "up_to_date")})


def _same_source(clip: Clip, record: Row, settings: Settings) -> bool:
    """Whether the source is the one of the record, as far as can be seen without reading it."""
    expected = (clip.checksum or "").lower()
    if expected and expected not in (record["source_sha256"], record.get("source_md5")):
        return False
    try:
        token = with_retries(lambda: source_token(clip.source_uri), settings.store.retry)
    except ClipFault:
        return False  # the survey names what is wrong with the source
    return bool(record["source_token"] == token)


def _published_record(clip: Clip, settings: Settings) -> Row | None:
    """The record beside a clip's published file, if there is one."""
    uri = settings.of(clip).clip_uri(clip, ".json")
    if not settings.store.exists(uri):
        return None
    return dict(json.loads(settings.store.read_bytes(uri)))
