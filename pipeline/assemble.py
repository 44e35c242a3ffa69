"""Make a clip from its segments: join, decode again and compare, measure, publish.

Every step is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.clip.changes import Changes
from pipeline.clip.clip import Clip
from pipeline.clip.details import Details, details_of
from pipeline.clip.frames import AssemblyReport, Frame, Luma, Probe, to_ms
from pipeline.clip.regions import batches, join_regions, largest_repairs
from pipeline.clip.result import ClipResult, FindingRow
from pipeline.clip.scan import scan_order
from pipeline.clip.segment import SegmentRecord, Segments
from pipeline.clip.survey import Survey
from pipeline.detect import change_film
from pipeline.detect.frame_changes import ChangeMeter, chroma_of
from pipeline.detect.measure import ClipMeasure, planes_to_luma
from pipeline.detect.verdict import Evidence, FrameRow, judged
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.verify import framemd5, plane_md5, verify_output
from pipeline.proof.outputs import Outputs, make_outputs
from pipeline.proof.premis import Restoration, premis_xml
from pipeline.proof.provenance import file_tags
from pipeline.proof.record import publish_record
from pipeline.runs.results import published, series_json
from pipeline.runs.row import result_to_record
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched
from pipeline.store import layout
from pipeline.store.address import is_s3
from pipeline.store.cache import discard, local_copy
from pipeline.store.local import local_path
from pipeline.store.private import temporary
from pipeline.store.storage import Store
from schemas.errors import ClipFault
from schemas.recipe import Limits, Recipe
from schemas.verdict_rules import rules_with


def assemble_clip(
    clip: Clip, survey: Survey, segments: Segments, settings: Settings, *, small: bool = False
) -> ClipResult:
    """Publish the clip and return its result. Raises ClipFault.

    Nothing is published before everything is verified. The record is published last. A file without
    a record does not count as published. `small`: the clip is one segment, whose files are on this
    machine; what the ledger keeps of the clip is returned with the result.
    """
    begun, changes = Usage.now(), Changes.between(survey, segments)
    uri, work_key = settings.clip_uri(clip), settings.work_key(survey.source_sha256, clip)
    tags = file_tags(survey, settings, changes)
    with temporary("clip-") as folder:
        path = Path(folder) / Path(uri).name
        master, outputs = verified_files(clip, survey, segments, settings, tags, path)
        digest = outputs.digests[0]
        at = datetime.now(UTC).isoformat(timespec="seconds")
        restoration = Restoration(clip, survey, settings, changes, digest, at, outputs.described)
        regions = _join_regions(segments, settings.store, Path(folder) / "regions.parquet")
        frames = master.frames()
        findings = master.findings(
            survey, frames, batches(regions) if regions else (), settings.recipe
        )
        sidecars = {
            f"{uri}.framemd5": framemd5(survey.probe, survey.pts, master.md5s).encode(),
            f"{uri}.premis.xml": premis_xml(restoration),
        }
        if not small:  # its sum is in the record
            sidecars[f"{uri}.sha256"] = digest.line
        changed = _change_map(segments, survey, settings, uri, path)
        files = outputs.publish(settings.store, uri, sidecars, changed)
        if small:
            kept = _in_result(clip, survey, segments[0], settings, frames, regions)
        else:
            kept = _in_ledger(clip, settings, frames, regions)
    result = published(
        clip, survey, segments, settings, changes,
        measures=master.measure.summary(), usage=begun.spent(), work_key=work_key,
        output=(uri, digest.sha256, digest.size), findings=findings, **kept._asdict(),
    )  # fmt: skip
    row = result_to_record(result)
    first = not settings.may_be_published(clip.clip_id)
    publish_record(
        settings.store, uri, survey, settings.recipe, master.report, row, files, first=first
    )
    return result


class Master(NamedTuple):
    """A verified master on this machine, with the measurements of its verification."""

    path: Path
    probe: Probe
    report: AssemblyReport
    measure: ClipMeasure
    departures: ChangeMeter
    md5s: list[str]

    def frames(self) -> list[dict[str, float]]:
        """The measurements of every frame, for tables/frames."""
        rows = zip(self.measure.frames(), self.departures.rows(), strict=True)
        return [{**measured, **departed} for measured, departed in rows]

    def findings(
        self,
        survey: Survey,
        frames: Sequence[FrameRow],
        regions: Iterable[pa.Table],
        recipe: Recipe,
    ) -> tuple[FindingRow, ...]:
        """The rules of the recipe that the clip breaks. `regions` are those that stand in it."""
        pixels = survey.probe.width * survey.probe.height // (2 if survey.by_fields else 1)
        evidence = Evidence(
            frames, self.departures.box, largest_repairs(regions, pixels), set(survey.fill)
        )
        return judged(survey.clip_id, evidence, rules_with(recipe.rules))


def verified_files(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    tags: Mapping[str, str],
    out: Path,
) -> tuple[Master, Outputs]:
    """Make the master `out` from segments, and the derived files beside it; verify all of them.

    `tags` are those of `pipeline.proof.provenance`. Raises ClipFault.
    """
    master = _master(clip, survey, segments, settings, tags, out)
    times_ms = [to_ms(p, survey.probe.time_base) + master.report.shift_ms for p in survey.pts]
    order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
    outputs = make_outputs(out, master.probe, order, times_ms, settings.recipe, out.parent)
    return master, outputs


def _master(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    tags: Mapping[str, str],
    out: Path,
) -> Master:
    """Join, decode again, compare and measure. Raises ClipFault."""
    cache, limits = Path(settings.cache), settings.recipe.limits
    paths = [_fetched(segment, out.parent, settings.store) for segment in segments.values()]
    crcs = [crc for segment in segments.values() for crc in segment.crc32]
    with (
        fetched(survey.source_uri, cache, survey.source_token) as source,
        reference_of(clip, cache) as reference,
    ):
        report = assemble(paths, source, survey.probe, survey.pts, out, tags, limits)
        hashes = stream_hashes(source, limits)
        with Decoder(out, limits) as decoder:
            verified = verify_output(
                decoder, survey.probe, survey.pts, crcs, hashes, report, limits
            )
            # `measured` reads the frames, and each is verified as it is read
            found = measured(verified, source, reference, survey, limits)
    return Master(out, decoder.probe, report, *found)


def _join_regions(segments: Segments, store: Store, joined: Path) -> Path | None:
    """Put the regions of all shards into the file `joined`. Without any there is no file."""
    found = [segment for segment in segments.values() if segment.regions_uri]
    if not found:
        return None
    part = joined.with_name("part.parquet")
    join_regions((_local(s.regions_uri, part, store) for s in found), joined)
    return joined


class _Kept(NamedTuple):
    """Where the ledger has the measurements and the regions of a clip."""

    series_uri: str
    regions_uri: str | None
    details: Details | None = None


def _in_ledger(
    clip: Clip, settings: Settings, frames: Sequence[FrameRow], regions: Path | None
) -> _Kept:
    """Write measurements and regions to objects of their own."""
    store, run, regions_uri = settings.store, settings.ledger.uri, None
    series = layout.series(run, clip.clip_id)
    store.write_bytes(series, series_json(clip.clip_id, frames))
    if regions:
        regions_uri = layout.regions(run, clip.clip_id)
        store.upload(regions, regions_uri)
    return _Kept(series, regions_uri)


def _in_result(
    clip: Clip,
    survey: Survey,
    segment: SegmentRecord,
    settings: Settings,
    frames: Sequence[FrameRow],
    regions: Path | None,
) -> _Kept:
    """Keep the details of a small clip for its result, which the ledger holds in one object."""
    uri = layout.done_marker(settings.ledger.uri, clip.clip_id)
    return _Kept(uri, uri if regions else None, details_of(survey, segment, frames, regions))


def _change_map(
    segments: Segments, survey: Survey, settings: Settings, uri: str, master: Path
) -> dict[str, Path]:
    """The joined change map by its address; nothing if the recipe wants none."""
    if not settings.recipe.change_map:
        return {}
    folder, store = master.parent, settings.store
    parts = [
        _local(segment.changes_uri, folder / f"changes-{segment.shard}.mkv", store)
        for segment in segments.values()
    ]
    out = folder / f"{master.name}{change_film.SUFFIX}"
    change_film.join(parts, survey.probe, survey.pts, out, settings.recipe.limits)
    return {f"{uri}{change_film.SUFFIX}": out}


def _fetched(segment: SegmentRecord, folder: Path, store: Store) -> Path:
    return _local(segment.uri, folder / f"segment-{segment.shard}.mkv", store)


def _local(uri: str, path: Path, store: Store) -> Path:
    """The local file at an address; an object is fetched to ``path`` first."""
    if not is_s3(uri):
        return local_path(uri)
    store.download(uri, path)
    return path


@contextmanager
def reference_of(clip: Clip, cache: Path) -> Iterator[Path | None]:
    """A local copy of the clean reference; None if the manifest names none.

    It is freed at the end. After an error it stays for the next try.
    """
    uri = clip.reference_uri
    if not uri:
        yield None
        return
    with local_copy(uri, cache) as path:
        yield path
    discard(uri, cache)


def measured(
    output: Iterator[Frame], source: Path, reference: Path | None, survey: Survey, limits: Limits
) -> tuple[ClipMeasure, ChangeMeter, list[str]]:
    """The measurements of source and output, and the MD5 of every output frame."""
    left = [index for index, shot in enumerate(survey.shots) if shot.left]
    starts = [shot.start for shot in survey.shots]
    measure, departures = ClipMeasure(starts, left=left), ChangeMeter(starts, survey.fill)
    pix_fmt, depth = survey.probe.pix_fmt, survey.probe.bit_depth
    md5s: list[str] = []
    with Decoder(source, limits, conversion=survey.conversion) as decoder:
        truths = _lumas(reference, survey.probe, limits)
        for before, after in zip(decoder, output, strict=True):
            one, other = (planes_to_luma(f.planes, pix_fmt, depth) for f in (before, after))
            measure.add(one, other, next(truths, None))
            colours = zip(*(chroma_of(f.planes, pix_fmt) for f in (before, after)), strict=True)
            departures.add(one, other, list(colours), depth)
            md5s.append(plane_md5(after.planes))
    return measure, departures, md5s


def _lumas(reference: Path | None, probe: Probe, limits: Limits) -> Iterator[Luma]:
    """Yield the luma of the reference's frames. Without a reference of the same size, yield none.

    The reference is only for measurements. If it cannot be read, its columns stay empty.
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
