"""What a run keeps of a published clip beside its row: measurements of every frame, and regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.clip.clip import Clip
from pipeline.clip.details import Details, details_of
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.survey import Survey
from pipeline.detect.verdict import FrameRow
from pipeline.runs.results import series_json
from pipeline.runs.settings import Settings
from pipeline.store import layout


class Kept(NamedTuple):
    """Where a reader finds them."""

    series_uri: str
    regions_uri: str | None
    details: Details | None = None


def in_ledger(
    clip: Clip, settings: Settings, frames: Sequence[FrameRow], regions: Path | None
) -> Kept:
    """Write measurements and regions to objects of their own."""
    store, run, regions_uri = settings.store, settings.ledger.uri, None
    series = layout.series(run, clip.clip_id)
    store.write_bytes(series, series_json(clip.clip_id, frames))
    if regions:
        regions_uri = layout.regions(run, clip.clip_id)
        store.upload(regions, regions_uri)
    return Kept(series, regions_uri)


def in_result(
    survey: Survey,
    segment: SegmentRecord,
    settings: Settings,
    frames: Sequence[FrameRow],
    regions: Path | None,
) -> Kept:
    """Keep the details of a small clip for its result, which the ledger holds in one object."""
    uri = layout.done_marker(settings.ledger.uri, survey.clip_id)
    return Kept(uri, uri if regions else None, details_of(survey, segment, frames, regions))
