"""The results of clips that are published, failed or up to date."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import cast

from pipeline.clip.changes import Changes, digital_source_type
from pipeline.clip.clip import Clip
from pipeline.clip.details import Details, frames_in
from pipeline.clip.put_back import Plan, frames_of
from pipeline.clip.result import Cell, ClipResult, FindingRow, ShotRow
from pipeline.clip.segment import RegionSums, Segments
from pipeline.clip.survey import Survey
from pipeline.detect.verdict import verdict_columns
from pipeline.runs.measures import STAGES
from pipeline.runs.row import Record, load, result_from_record
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import token_in_time
from pipeline.store.retry import with_retries
from schemas import strict_json
from schemas.errors import ClipFault

_HELD = (
    "Source pixels were put back in this clip, so it is not restored again. "
    "`archive-restore revert CLIP --release` lets the next run restore it."
)


def common_columns(clip: Clip, settings: Settings, state: str) -> dict[str, Cell]:
    """The columns of tables/clips that every clip has, whatever its state."""
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
        "notes": clip.notes,
        "model": settings.recipe.model,
        "weights_sha256": settings.weights_sha256,
        "recipe_sha256": settings.recipe.digest,
    }


def published(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    changes: Changes,
    *,
    measures: Mapping[str, float],
    usage: Usage,
    work_key: str,
    output: tuple[str, str, int],
    series_uri: str,
    regions_uri: str | None,
    findings: tuple[FindingRow, ...],
    put_back: Plan = (),
    details: Details | None = None,
) -> ClipResult:
    """The result of a published clip. `output` is address, SHA-256 and size in bytes.

    `usage` is that of the assembly. The segments have their own. `put_back` is what was put back to
    the source before publishing.
    """
    columns: dict[str, Cell] = {
        **common_columns(clip, settings, "published" if changes.frames else "untouched"),
        **_facts(survey),
        **_work(segments, usage),
        **changes.shares,
        **measures,
        **verdict_columns(findings, untouched=not changes.frames),
        "work_key": work_key,
        "digital_source_type": digital_source_type(changes.frames, len(survey.fill)),
        "frames_changed": changes.frames,
        "frames_put_back": len(frames_of(put_back, survey)) if put_back else None,
        **dict(zip(("output_uri", "output_sha256", "output_bytes"), output, strict=True)),
    }
    shots = _shot_rows(clip.clip_id, survey, {p.shot: p.why for p in put_back})
    return ClipResult(columns, shots, series_uri, regions_uri, findings, details)


def series_json(clip: str, frames: Iterable[Mapping[str, float]]) -> bytes:
    """The measurements of every frame as JSON, kept until the tables are written."""
    return strict_json.dumps([{"clip_id": clip, **frame} for frame in frames]).encode()


def series_rows(data: bytes) -> list[Record]:
    """The rows of tables/frames in what `series_json` wrote, or in the result of a small clip."""
    plain = json.loads(data)
    return plain if isinstance(plain, list) else frames_in(plain)


def _facts(survey: Survey) -> dict[str, Cell]:
    """The columns that come from the survey."""
    probe = survey.probe
    return {
        "source_sha256": survey.source_sha256, "container": probe.container, "codec": probe.codec,
        "frames": len(survey.pts), "source_frames": survey.source_frames,
        "frames_left": survey.frames_left, "frames_clean": survey.frames_clean,
        "frames_filled": len(survey.fill),
        "gaps": ", ".join(survey.gaps) or None,
        "blanking": str(survey.blanking), "interlace": survey.interlace,
        "conversion": str(survey.conversion) if survey.conversion else None,
        "width": probe.width, "height": probe.height,
        "fps_num": probe.fps.numerator, "fps_den": probe.fps.denominator,
        "pix_fmt": probe.pix_fmt, "bit_depth": probe.bit_depth,
        "sar_num": probe.sar.numerator, "sar_den": probe.sar.denominator,
        "field_order": survey.field_order,
        "scan_measured": survey.scan_measured, "range_measured": survey.range_measured,
        "color_range": str(probe.color_range), "color_primaries": str(probe.color_primaries),
        "color_trc": str(probe.color_trc), "colorspace": str(probe.colorspace),
        "duration_seconds": probe.duration_seconds,
        "shots": len(survey.shots),
        "source_bytes": int(survey.source_token.partition(":")[0]),
    }  # fmt: skip


def _work(segments: Segments, usage: Usage) -> dict[str, Cell]:
    """The columns that come from the segments, and the seconds of the whole clip."""
    found = segments.values()
    stages = {key: _sum(segments, key) for key in STAGES}
    return {
        "shards": len(segments),
        "tile": min((segment.tile for segment in found if segment.tile), default=None),
        "device": " and ".join(sorted({s.device for s in found if s.device})) or None,
        "exposure_gain_min": min(segment.exposure_gain_min for segment in found),
        "exposure_gain_max": max(segment.exposure_gain_max for segment in found),
        **{f"seconds_{key}": seconds for key, seconds in stages.items()},
        **{name: _mean(segments, name) for name in ("share_changed", "share_repaired")},
        **asdict(sum((segment.regions for segment in found), RegionSums())),
        "seconds_gpu": round(sum(segment.seconds_gpu for segment in found), 3),
        "retries": sum(segment.retries for segment in found),
        "seconds_total": round(usage.clock + sum(stages.values()), 3),
        "seconds_cpu": round(usage.cpu + sum(segment.seconds_cpu for segment in found), 3),
    }


def _mean(segments: Segments, share: str) -> float | None:
    """The mean of a share over all frames; None if a segment has none."""
    found = [(getattr(s, share), s.frames) for s in segments.values()]
    if any(value is None for value, _ in found):
        return None
    return round(sum(v * n for v, n in found) / sum(n for _, n in found), 6)


def _sum(segments: Segments, stage: str) -> float:
    return round(sum(float(getattr(s, f"seconds_{stage}")) for s in segments.values()), 3)


def _shot_rows(
    clip: str, survey: Survey, put_back: Mapping[int | None, str]
) -> tuple[ShotRow, ...]:
    """Rows of tables/shots. `put_back` says why a shot was put back whole, by its number."""
    return tuple(
        ShotRow(
            clip, index, shot.start, shot.stop, shot.stop - shot.start,
            survey.pts[shot.start], shot.flickers, shot.left or put_back.get(index),
            shot.found or None,
        )
        for index, shot in enumerate(survey.shots)
    )  # fmt: skip


def failed(clip: Clip, fault: ClipFault, settings: Settings) -> ClipResult:
    """The result of a clip that ends with a reason code."""
    return ClipResult(common_columns(clip, settings, fault.state)).having(
        reason=str(fault.reason), sentence=fault.sentence, next_step=fault.next_step
    )


def unchanged(
    clip: Clip, settings: Settings, source_sha256: str | None = None
) -> ClipResult | None:
    """The result of a clip whose published file has the same work key, else None.

    Without a checksum, size and modification time of the source decide. So a run with nothing to do
    reads no source. A clip in which a person put source pixels back stays as it is, with other
    settings too.
    """
    record = _published_record(clip, settings)
    if record is None:
        return None
    if source_sha256 is None:
        if not _same_source(clip, record, settings):
            return None
        source_sha256 = str(record["source_sha256"])
    published = result_from_record(cast(Record, record["row"])).columns
    if _broken_off(record, settings):
        return None
    now = common_columns(clip, settings, "up_to_date")
    if record["work_key"] == settings.of(clip).work_key(source_sha256, clip):
        return ClipResult({**published, **now})
    if not record.get("reverts") or record["source_sha256"] != source_sha256:
        return None
    if record["work_key"] is None:  # released: `pipeline.undo.review`
        return None
    made_with = {name: published[name] for name in ("model", "weights_sha256", "recipe_sha256")}
    return ClipResult({**published, **now, **made_with, "sentence": _HELD})


def accepted(clip: Clip, settings: Settings) -> list[str]:
    """The ids of suspects that a person accepted to be repaired, in the clip's record."""
    record = _published_record(clip, settings) or {}
    lists = [cast(list[str], record.get(name) or []) for name in ("accepted", "to_repair")]
    return sorted({region for ids in lists for region in ids})


def _broken_off(record: Record, settings: Settings) -> bool:
    """Whether this run has published the record but was killed before it could end the clip."""
    ledger, row = settings.ledger, cast(Record, record["row"])
    return ledger.resumed and row["run"] == ledger.run and not record.get("reviews")


def _same_source(clip: Clip, record: Record, settings: Settings) -> bool:
    """Whether the source is the one in the record. It is not read: its token decides."""
    expected = (clip.checksum or "").lower()
    if expected and expected not in (record["source_sha256"], record.get("source_md5")):
        return False
    try:
        token = with_retries(lambda: token_in_time(clip.source_uri), settings.store.retry)
    except ClipFault:
        return False  # the survey names what is wrong with the source
    return bool(record["source_token"] == token)


def _published_record(clip: Clip, settings: Settings) -> Record | None:
    """The record beside a clip's master; None if there is none."""
    if not settings.may_be_published(clip.clip_id):
        return None
    data = settings.store.find(settings.of(clip).clip_uri(clip, ".json"))
    return None if data is None else load(data)
