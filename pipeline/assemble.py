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
from pipeline.clip.frames import AssemblyReport, Frame, Luma, Probe, to_ms
from pipeline.clip.result import Cell, ClipResult, ShotRow
from pipeline.clip.scan import scan_order
from pipeline.clip.segment import SegmentRecord, Segments
from pipeline.clip.survey import Survey
from pipeline.detect.measure import ClipMeasure, planes_to_luma
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.verify import framemd5, plane_md5, verify_output
from pipeline.proof.outputs import make_outputs, publish_record
from pipeline.proof.premis import Restoration, premis_xml
from pipeline.proof.provenance import Changes, digital_source_type, file_tags
from pipeline.proof.record import Digest
from pipeline.runs.results import common_columns
from pipeline.runs.row import Row, result_to_record
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched
from pipeline.store import layout
from pipeline.store.address import is_s3, local_path
from pipeline.store.cache import discard, local_copy
from pipeline.store.storage import Store
from schemas.errors import ClipFault
from schemas.recipe import Limits

SUMMED = ("seconds_decode", "seconds_model", "seconds_encode")


def assemble_clip(clip: Clip, survey: Survey, segments: Segments, settings: Settings) -> ClipResult:
    """Publish the clip and return its result. Raises ClipFault.

    Nothing is published before all of it is verified. The record is published last: a file without
    a record is not published.
    """
    begun, uri, changes = Usage.now(), settings.clip_uri(clip), Changes.between(survey, segments)
    folder, _, name = uri.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="ar-clip-") as work:
        made = _made(clip, survey, segments, settings, changes, Path(work) / name)
        times_ms = [to_ms(p, survey.probe.time_base) + made.report.shift_ms for p in survey.pts]
        order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
        outputs = make_outputs(made.path, order, times_ms, settings.recipe, Path(work))
        master = outputs.digests[0]
        at = datetime.now(UTC).isoformat(timespec="seconds")
        restoration = Restoration(clip, survey, settings, changes, master, at, outputs.described)
        sidecars = {
            f"{name}.framemd5": framemd5(survey.probe, survey.pts, made.md5s).encode(),
            f"{name}.sha256": f"{master.sha256}  {name}\n".encode(),
            f"{name}.premis.xml": premis_xml(restoration),
        }
        files = outputs.publish(settings.store, folder, sidecars)
    columns = {
        **common_columns(clip, settings, "published"),
        **columns_of(clip, survey, segments, settings, changes),
        **made.measure.summary(),
        **_seconds(segments, begun),
        "output_uri": uri,
        "output_sha256": master.sha256,
        "output_bytes": master.size,
    }
    series = _write_series(clip.clip_id, made.measure, settings)
    result = ClipResult(columns, shot_rows(clip.clip_id, survey), series)
    record = _record(survey, settings, made.report, result, files) | outputs.to_record()
    publish_record(settings.store, uri, record)
    return result


def _write_series(clip: str, measure: ClipMeasure, settings: Settings) -> str:
    """Keep the measures of every frame until the tables are written; their address."""
    uri = layout.series(settings.ledger.uri, clip)
    frames = [{"clip_id": clip, **frame} for frame in measure.frames()]
    settings.store.write_bytes(uri, json.dumps(frames).encode())
    return uri


def _seconds(segments: Segments, begun: Usage) -> dict[str, Cell]:
    """Columns with the time of the whole clip, in seconds."""
    spent = begun.spent()
    stages = sum(round(sum(getattr(s, key) for s in segments.values()), 3) for key in SUMMED)
    cpu = round(sum(segment.seconds_cpu for segment in segments.values()), 3)
    return {
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
    out: Path,
) -> Made:
    """Join, decode again, compare and measure. Raises ClipFault."""
    cache, limits = Path(settings.cache), settings.recipe.limits
    paths = [_fetched(segment, out.parent, settings.store) for segment in segments.values()]
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
    if not is_s3(segment.uri):
        return local_path(segment.uri)
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
