"""A clip from its segments: join, decode again and compare, measure, publish.

Every step repeats safely.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.clip.clip import Clip
from pipeline.clip.frames import AssemblyReport, Frame, Probe, to_ms
from pipeline.clip.result import Cell, ClipResult, ShotRow
from pipeline.clip.segment import SegmentRecord, Segments
from pipeline.clip.survey import Survey
from pipeline.detect.interlacing import scan_order
from pipeline.detect.measure import ClipMeasure, Luma, planes_to_luma
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.verify import framemd5, plane_md5, verify_output
from pipeline.proof.outputs import make_outputs, retire
from pipeline.proof.premis import Restoration, premis_xml
from pipeline.proof.provenance import Changes, digital_source_type, file_tags
from pipeline.proof.record import Digest, sealed
from pipeline.runs.results import common_columns
from pipeline.runs.row import Row, result_to_record
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched
from pipeline.store import storage
from pipeline.store.cache import discard, local_copy
from pipeline.store.store import Store
from schemas.errors import ClipFault
from schemas.recipe import Limits

SUMMED = ("seconds_decode", "seconds_model", "seconds_encode")


def assemble_clip(clip: Clip, survey: Survey, segments: Segments, settings: Settings) -> ClipResult:
    """Publish the clip and return its result. Raises ClipFault.

    Nothing is published before all of it is verified. The record is published last: a file without
    a record is not published.
    """
    begun, store = Usage.now(), settings.store
    name, changes = clip.clip_id, Changes.between(survey, segments)
    with tempfile.TemporaryDirectory(prefix="ar-clip-") as folder:
        made = _made(clip, survey, segments, settings, changes, Path(folder))
        times_ms = [to_ms(p, survey.probe.time_base) + made.report.shift_ms for p in survey.pts]
        order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
        outputs = make_outputs(made.path, order, times_ms, settings.recipe, Path(folder))
        restored, *others = outputs.digests()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        work = Restoration(clip, survey, settings, changes, restored, at, outputs.described(others))
        sidecars = {
            ".framemd5": framemd5(survey.probe, survey.pts, made.md5s).encode(),
            ".sha256": f"{restored.sha256}  {restored.name}\n".encode(),
            ".premis.xml": premis_xml(work),
        }
        outputs.publish(store, settings.out, name)
    for suffix, data in sidecars.items():
        store.write_bytes(settings.clip_uri(clip, suffix), data)
    series = storage.join(settings.ledger.uri, "series", f"{name}.json")
    frames = [{"clip_id": name, **frame} for frame in made.measure.frames()]
    store.write_bytes(series, json.dumps(frames).encode())
    columns = {
        **common_columns(clip, settings, "published"),
        **columns_of(clip, survey, segments, settings, changes),
        **made.measure.summary(),
        "output_uri": settings.clip_uri(clip),
        "output_sha256": restored.sha256,
        "output_bytes": restored.size,
    }
    result = ClipResult(_timed(columns, segments, begun), shot_rows(name, survey), series)
    files = [
        restored,
        *others,
        *(Digest.of(restored.name + key, data) for key, data in sidecars.items()),
    ]
    record = _record(survey, settings, made.report, result, files) | outputs.to_record()
    retire(store, settings.out, name, {*record["files"], f"{restored.name}.json"})
    store.write_bytes(settings.clip_uri(clip, ".json"), sealed(record))
    return result


def _timed(columns: dict[str, Cell], segments: Segments, begun: Usage) -> dict[str, Cell]:
    """The columns with the time of the whole clip, in seconds."""
    spent = begun.spent()
    stages = sum(round(sum(getattr(s, key) for s in segments.values()), 3) for key in SUMMED)
    cpu = round(sum(segment.seconds_cpu for segment in segments.values()), 3)
    return columns | {
        "seconds_total": round(spent.clock + stages, 3),
        "seconds_cpu": round(spent.cpu + cpu, 3),
    }


class Made(NamedTuple):
    """A verified file on this machine, and what was found while it was verified."""

    path: Path
    report: AssemblyReport
    measure: ClipMeasure
    md5s: list[str]


def _made(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    changes: Changes,
    folder: Path,
) -> Made:
    """Join, decode again, compare and measure. Raises ClipFault."""
    cache, limits = Path(settings.cache), settings.recipe.limits
    out = folder / settings.clip_uri(clip).rpartition("/")[2]
    paths = [_fetched(segment, folder, settings.store) for segment in segments.values()]
    tags = file_tags(survey, settings, changes)
    crcs = [crc for segment in segments.values() for crc in segment.crc32]
    with fetched(survey.source_uri, cache) as source, reference_of(clip, cache) as reference:
        report = assemble(paths, source, survey.probe, survey.pts, out, tags, limits)
        hashes = stream_hashes(source, limits)
        verified = verify_output(out, survey.probe, survey.pts, crcs, hashes, report, limits)
        measure, md5s = measured(verified, source, reference, survey, limits)
    return Made(out, report, measure, md5s)


def _record(
    survey: Survey,
    settings: Settings,
    report: AssemblyReport,
    result: ClipResult,
    files: list[Digest],
) -> Row:
    """What is kept beside the file: how it was made, and a digest of every other file published."""
    return {
        "work_key": result.columns["work_key"],
        "source_sha256": survey.source_sha256, "source_token": survey.source_token,
        "source_pts": survey.source_pts or survey.pts, "time_base": str(survey.probe.time_base),
        "streams": [asdict(stream) for stream in report.streams],
        "tags": dict(report.tags), "recipe": settings.recipe.to_dict(),
        "row": result_to_record(result),
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in files},
    }  # fmt: skip


def _fetched(segment: SegmentRecord, folder: Path, store: Store) -> Path:
    if not storage.is_s3(segment.uri):
        return storage.local_path(segment.uri)
    path = folder / f"segment-{segment.shard}.mkv"
    store.download(segment.uri, path)
    return path


@contextmanager
def reference_of(clip: Clip, cache: Path) -> Iterator[Path | None]:
    """A local copy of the clean reference, when the manifest names one, freed at the end."""
    uri = clip.reference_uri
    if not uri:
        yield None
        return
    with local_copy(uri, cache) as path:
        yield path
    discard(uri, cache)


def measured(
    output: Iterator[Frame], source: Path, reference: Path | None, survey: Survey, limits: Limits
) -> tuple[ClipMeasure, list[str]]:
    """Measures of source and output side by side, and the MD5 of every output frame."""
    left = [index for index, shot in enumerate(survey.shots) if shot.left]
    measure = ClipMeasure([shot.start for shot in survey.shots], left=left)
    md5s: list[str] = []
    with Decoder(source, limits, conversion=survey.conversion) as decoder:
        truths = _lumas(reference, survey.probe, limits)
        for before, after in zip(decoder, output, strict=True):
            lumas = [
                planes_to_luma(f.planes, survey.probe.pix_fmt, survey.probe.bit_depth)
                for f in (before, after)
            ]
            measure.add(lumas[0], lumas[1], next(truths, None))
            md5s.append(plane_md5(after.planes))
    return measure, md5s


def _lumas(reference: Path | None, probe: Probe, limits: Limits) -> Iterator[Luma]:
    """Luma of the reference's frames; none where there is no reference of the same size.

    A reference only informs: one that cannot be read costs its columns, not the clip.
    """
    if reference is None:
        return
    try:
        with Decoder(reference, limits) as decoder:
            found = decoder.probe
            if (found.width, found.height) != (probe.width, probe.height):
                return
            for frame in decoder:
                yield planes_to_luma(frame.planes, found.pix_fmt, found.bit_depth)
    except ClipFault:
        return


def columns_of(
    clip: Clip, survey: Survey, segments: Segments, settings: Settings, changes: Changes
) -> dict[str, Cell]:
    """Columns of tables/clips that come from the survey and the segments."""
    probe, found = survey.probe, segments.values()
    return {
        "work_key": settings.work_key(survey.source_sha256, clip),
        "digital_source_type": digital_source_type(changes.frames, len(survey.fill)),
        "frames_changed": changes.frames,
        "source_sha256": survey.source_sha256, "container": probe.container, "codec": probe.codec,
        "frames": len(survey.pts), "source_frames": survey.source_frames,
        "frames_left": survey.frames_left, "frames_filled": len(survey.fill),
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
        "shots": len(survey.shots), "shards": len(segments),
        "tile": min((segment.tile for segment in found if segment.tile), default=None),
        "device": " and ".join(sorted({s.device for s in found if s.device})) or None,
        "exposure_gain_min": min(segment.exposure_gain_min for segment in found),
        "exposure_gain_max": max(segment.exposure_gain_max for segment in found),
        "source_bytes": int(survey.source_token.partition(":")[0]),
        **{key: round(sum(getattr(segment, key) for segment in found), 3)
           for key in (*SUMMED, "seconds_gpu", "retries")},
        **changes.shares,
    }  # fmt: skip


def shot_rows(clip: str, survey: Survey) -> tuple[ShotRow, ...]:
    """Rows of tables/shots."""
    return tuple(
        ShotRow(
            clip, index, shot.start, shot.stop, shot.stop - shot.start,
            survey.pts[shot.start], shot.flickers, shot.left or None,
        )
        for index, shot in enumerate(survey.shots)
    )  # fmt: skip
