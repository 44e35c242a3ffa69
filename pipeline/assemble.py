"""A clip from its segments: join, decode again and compare, measure, publish. Every step repeats
safely.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.decoding import Decoder
from pipeline.frames import Frame, Probe
from pipeline.measure import ClipMeasure, Luma, planes_to_luma
from pipeline.muxing import assemble, stream_hashes
from pipeline.run import Row, Settings, clip_row
from pipeline.sources import fetch
from pipeline.survey import Survey
from pipeline.verify import framemd5, plane_md5, verify_output
from schemas.errors import ClipFault
from schemas.recipe import Limits

Records = Mapping[int, Mapping[str, Any]]

SUMMED = ("seconds_decode", "seconds_model", "seconds_encode")
AVERAGED = ("source_share", "defect_share")


def assemble_clip(clip: Row, survey: Survey, records: Records, settings: Settings) -> Row:
    """Publish the clip and return its row. Raises ClipFault; nothing is published before all is
    verified.
    """
    started = time.monotonic()
    cache, name = Path(settings.cache), str(clip["clip_id"])
    source = fetch(survey.source_uri, cache)
    limits = settings.recipe.limits
    with tempfile.TemporaryDirectory(prefix="ar-clip-") as folder:
        out = Path(folder) / f"{name}_rst.mkv"
        segments = [_fetched(record, Path(folder)) for record in records.values()]
        tags = file_tags(survey, settings)
        report = assemble(segments, source, survey.probe, survey.pts, out, tags, limits)
        crcs = [crc for record in records.values() for crc in record["crc32"]]
        hashes = stream_hashes(source, limits)
        verified = verify_output(out, survey.probe, survey.pts, crcs, hashes, report, limits)
        measure, md5s = measured(verified, source, reference_of(clip, cache), survey, limits)
        sha256 = storage.sha256_file(out)
        sidecars = {
            ".framemd5": framemd5(survey.probe, survey.pts, md5s),
            ".sha256": f"{sha256}  {out.name}\n",
        }
        row = clip_row(clip, settings, "published") | facts(survey, records) | measure.summary() | {
            "output_uri": settings.clip_uri(name), "output_sha256": sha256,
            "work_key": settings.work_key(survey.source_sha256),
        }  # fmt: skip
        frames = [{"clip_id": name, **frame} for frame in measure.frames()]
        storage.upload(out, settings.clip_uri(name))
    for suffix, text in sidecars.items():
        storage.write_bytes(settings.clip_uri(name, suffix), text.encode())
    series = storage.join(settings.ledger.uri, "series", f"{name}.json")
    storage.write_bytes(series, json.dumps(frames).encode())
    row["seconds_total"] = round(time.monotonic() - started + sum(row[key] for key in SUMMED), 3)
    row |= {"series_uri": series, "shot_rows": shot_rows(name, survey)}
    streams = [asdict(stream) for stream in report.streams]
    record = {
        "work_key": row["work_key"],
        "source_sha256": survey.source_sha256, "source_token": survey.source_token,
        "source_pts": survey.pts, "time_base": str(survey.probe.time_base), "streams": streams,
        "tags": tags,
        "recipe": settings.recipe.to_dict(), "row": row,
    }  # fmt: skip
    storage.write_bytes(settings.clip_uri(name, ".json"), json.dumps(record, default=str).encode())
    return row


def _fetched(record: Mapping[str, Any], folder: Path) -> Path:
    uri = str(record["uri"])
    if not storage.is_s3(uri):
        return storage.local_path(uri)
    path = folder / f"segment-{record['shard']}.mkv"
    storage.download(uri, path)
    return path


def reference_of(clip: Row, cache: Path) -> Path | None:
    """A local copy of the clean reference, when the manifest names one."""
    uri = clip.get("reference_uri")
    return storage.local_copy(str(uri), cache) if uri else None


def file_tags(survey: Survey, settings: Settings) -> dict[str, str]:
    """What the restored file says about itself."""
    return {
        "RESTORATION": "AI-assisted restoration; not the original",
        "RESTORATION_TOOL": f"archive-restore {settings.code}",
        "RESTORATION_MODEL": f"{settings.recipe.model} sha256:{settings.weights_sha256}",
        "RESTORATION_RECIPE": f"{settings.recipe.name} sha256:{settings.recipe.digest}",
        "RESTORATION_SOURCE": f"sha256:{survey.source_sha256}",
        "RESTORATION_RUN": settings.ledger.run,
    }


def measured(
    output: Iterator[Frame], source: Path, reference: Path | None, survey: Survey, limits: Limits
) -> tuple[ClipMeasure, list[str]]:
    """Measures of source and output side by side, and the MD5 of every output frame."""
    measure = ClipMeasure([shot.start for shot in survey.shots])
    md5s: list[str] = []
    with Decoder(source, limits) as decoder:
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


def facts(survey: Survey, records: Records) -> Row:
    """Columns of tables/clips that come from the survey and the segments."""
    probe, lengths = survey.probe, [record["stop"] - record["start"] for record in records.values()]
    sums = {key: round(sum(record[key] for record in records.values()), 3) for key in SUMMED}
    means = {
        key: sum(r[key] * n for r, n in zip(records.values(), lengths, strict=True)) / sum(lengths)
        for key in AVERAGED
    }
    return {
        "source_sha256": survey.source_sha256, "container": probe.container, "codec": probe.codec,
        "frames": len(survey.pts), "width": probe.width, "height": probe.height,
        "fps_num": probe.fps.numerator, "fps_den": probe.fps.denominator,
        "pix_fmt": probe.pix_fmt, "bit_depth": probe.bit_depth,
        "sar_num": probe.sar.numerator, "sar_den": probe.sar.denominator, "field_order":
        probe.field_order,
        "scan_measured": survey.scan_measured, "range_measured": survey.range_measured,
        "color_range": str(probe.color_range), "color_primaries": str(probe.color_primaries),
        "color_trc": str(probe.color_trc), "colorspace": str(probe.colorspace),
        "duration_seconds": probe.duration_seconds, "shots": len(survey.shots), "shards":
        len(records),
        "exposure_gain_min": min(record["exposure_gain_min"] for record in records.values()),
        "exposure_gain_max": max(record["exposure_gain_max"] for record in records.values()),
        **sums, **means,
    }  # fmt: skip


def shot_rows(clip: str, survey: Survey) -> list[Row]:
    """Rows of tables/shots."""
    return [
        {
            "clip_id": clip, "shot": index, "start": shot.start, "stop": shot.stop,
            "frames": shot.stop - shot.start, "start_pts": survey.pts[shot.start],
            "flickers": shot.flickers,
        }
        for index, shot in enumerate(survey.shots)
    ]  # fmt: skip
