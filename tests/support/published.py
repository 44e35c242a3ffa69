"""Clips published by the real assembly, without Ray and without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.frame_state import Repair
from pipeline.assemble import assemble_clip
from pipeline.clip.clip import Clip
from pipeline.clip.regions import RegionWriter
from pipeline.clip.segment import SegmentRecord, regions_beside
from pipeline.clip.shards import Shot
from pipeline.clip.survey import Survey
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.runs.ledger import Ledger
from pipeline.runs.row import result_to_record
from pipeline.runs.settings import Settings
from pipeline.store import layout, storage
from pipeline.survey import survey_clip
from schemas.recipe import Recipe

WEIGHTS = "5e" * 32
IDENTITY = {"manifest": "m", "manifest_uri": "m.csv", "recipe": "r", "weights": "w", "code": "c"}


def settings_for(folder: Path, recipe: Recipe | None = None, out: str = "") -> Settings:
    """Settings of a run that publishes into FOLDER/out, or `out`."""
    ledger = Ledger.open_or_resume(out or str(folder / "out"), IDENTITY)
    return Settings(ledger, recipe or Recipe(), WEIGHTS, "0.1.0", str(folder / "cache"))


def segment(
    survey: Survey, source: Path, path: Path, changed: int, erased: int | None = None
) -> SegmentRecord:
    """Write one segment with the whole clip; its first `changed` frames are one code value darker.

    In the frame `erased`, a box of 32 x 24 pixels at 16,8 is another picture. Returns its record.
    """
    with (
        Decoder(source, Recipe().limits) as decoder,
        SegmentWriter(path, survey.probe, 4) as writer,
    ):
        for frame in decoder:
            step = np.array(1 if frame.index < changed else 0, frame.planes[0].dtype)
            luma = frame.planes[0] - step
            if frame.index == erased:
                luma[8:32, 16:48] ^= 128
            writer.write((luma, *frame.planes[1:]))
    return SegmentRecord(
        0, 0, len(survey.pts), tuple(writer.crcs), uri=str(path),
        seconds_decode=0.1, seconds_model=0.1, seconds_encode=0.1, source_share=0.9,
        defect_share=0.01, exposure_gain_min=1.0, exposure_gain_max=1.0,
    )  # fmt: skip


def publish(
    folder: Path,
    source: Path,
    settings: Settings,
    changed: int = 2,
    erased: int | None = None,
    shots: list[Shot] | None = None,
    regions: Sequence[tuple[int, Repair]] = (),
    accepted: Sequence[str] = (),
    **columns: Any,
) -> dict[str, Any]:
    """Publish `source` under its file name. `columns` are more manifest columns.

    `shots` take the place of those of the survey. `regions` are of the frame before each of them.
    Those that a person `accepted` are named by their ids.
    """
    clip = Clip(source.stem, str(source), **columns)
    survey = survey_clip(clip, settings.recipe, Path(settings.cache))
    survey = replace(survey, shots=shots or survey.shots, accepted=list(accepted))
    storage.write_bytes(layout.survey(settings.ledger.uri, clip.clip_id), survey.to_json())
    path = folder / f"{source.stem}-segment.mkv"
    record = segment(survey, source, path, changed, erased)
    with RegionWriter(regions_beside(path)) as writer:
        for frame, repair in regions:
            shot = next(n for n, one in enumerate(survey.shots) if one.start <= frame < one.stop)
            writer.add(shot, frame, [repair])
    if regions:
        uri = str(regions_beside(path))
        record = replace(record, regions_uri=uri, **asdict(writer.sums))
    return result_to_record(assemble_clip(clip, survey, {0: record}, settings))
