"""Make a clip from its segments: join, decode again and compare, measure, publish.

Every step is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.clip.changes import Changes
from pipeline.clip.clip import Clip
from pipeline.clip.frames import AssemblyReport, Probe, to_ms
from pipeline.clip.put_back import Plan
from pipeline.clip.regions import batches, join_regions, largest_repairs
from pipeline.clip.result import ClipResult, FindingRow
from pipeline.clip.scan import scan_order
from pipeline.clip.segment import SegmentRecord, Segments
from pipeline.clip.survey import Survey
from pipeline.detect import change_film
from pipeline.detect.verdict import Evidence, FrameRow, judged
from pipeline.kept import in_ledger, in_result
from pipeline.measures.clip import Measured, measured
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.verify import framemd5, verify_output
from pipeline.proof.outputs import Outputs, make_outputs
from pipeline.proof.premis import Restoration, premis_xml
from pipeline.proof.provenance import file_tags
from pipeline.proof.record import publish_record
from pipeline.runs.results import published
from pipeline.runs.row import result_to_record
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import fetched
from pipeline.store.address import is_s3
from pipeline.store.cache import discard, local_copy
from pipeline.store.local import local_path
from pipeline.store.private import temporary
from pipeline.store.storage import Store
from pipeline.undo.fallback import rewritten
from pipeline.undo.harm import of_clean_shots, of_rules
from pipeline.undo.residual import SUFFIX as RESIDUAL
from pipeline.undo.residual import Residual, write_residual
from schemas.recipe import Recipe
from schemas.verdict_rules import rules_with


def assemble_clip(
    clip: Clip, survey: Survey, segments: Segments, settings: Settings, *, small: bool = False
) -> ClipResult:
    """Publish the clip and return its result. Raises ClipFault.

    Nothing is published before everything is verified. The record is published last. A file without
    a record does not count as published. `small`: the clip is one segment, and what the ledger
    keeps of it is returned with the result.
    """
    begun = Usage.now()
    uri, work_key = settings.clip_uri(clip), settings.work_key(survey.source_sha256, clip)
    with temporary("clip-") as folder:
        path = Path(folder) / Path(uri).name
        judged = _judged(clip, survey, segments, settings, path)
        segments, changes, master = judged.segments, judged.changes, judged.master
        outputs = _outputs(master, survey, settings)
        digest = outputs.digests[0]
        at = datetime.now(UTC).isoformat(timespec="seconds")
        restoration = Restoration(
            clip, survey, settings, changes, digest, at, outputs.described, judged.plan
        )
        sidecars = {
            f"{uri}.framemd5": framemd5(survey.probe, survey.pts, master.measured.md5s).encode(),
            f"{uri}.premis.xml": premis_xml(restoration),
        }
        if not small:  # its sum is in the record
            sidecars[f"{uri}.sha256"] = digest.line
        beside = _change_map(segments, survey, settings, uri, path)
        residual = _residual(survey, settings, path)
        if residual is not None:
            beside[f"{uri}{RESIDUAL}"] = residual.path
        files = outputs.publish(settings.store, uri, sidecars, beside)
        files |= {"residual": residual.entry} if residual else {}
        if small:
            kept = in_result(survey, segments[0], settings, judged.frames, judged.regions)
        else:
            kept = in_ledger(clip, settings, judged.frames, judged.regions)
    result = published(
        clip, survey, segments, settings, changes,
        measures=master.measured.summary(), usage=begun.spent(), work_key=work_key,
        output=(uri, digest.sha256, digest.size), findings=judged.findings,
        put_back=judged.plan, **kept._asdict(),
    )  # fmt: skip
    row = result_to_record(result)
    first = not settings.may_be_published(clip.clip_id)
    publish_record(
        settings.store, uri, survey, settings.recipe, master.report, row, files,
        put_back=[one.to_dict() for one in judged.plan], first=first,
    )  # fmt: skip
    return result


class Master(NamedTuple):
    """A verified master on this machine, with the measurements of its verification."""

    path: Path
    probe: Probe
    report: AssemblyReport
    measured: Measured

    def evidence(
        self, survey: Survey, frames: Sequence[FrameRow], regions: Iterable[pa.Table]
    ) -> Evidence:
        """What the verdict is given by. `regions` are those that stand in the clip."""
        pixels = survey.probe.width * survey.probe.height // (2 if survey.by_fields else 1)
        return Evidence(
            frames, self.measured.box, largest_repairs(regions, pixels), set(survey.fill)
        )

    def findings(
        self,
        survey: Survey,
        frames: Sequence[FrameRow],
        regions: Iterable[pa.Table],
        recipe: Recipe,
    ) -> tuple[FindingRow, ...]:
        """The rules of the recipe that the clip breaks. `regions` are those that stand in it."""
        evidence = self.evidence(survey, frames, regions)
        return judged(survey.clip_id, evidence, rules_with(recipe.rules))


class Judged(NamedTuple):
    """A verified master, what was put back in it before, and what the rules say of it."""

    segments: Segments
    changes: Changes
    master: Master
    frames: list[dict[str, float]]  # the measurements of every frame
    regions: Path | None  # the joined file; None without any
    plan: Plan
    findings: tuple[FindingRow, ...]


def _judged(
    clip: Clip, survey: Survey, segments: Segments, settings: Settings, out: Path
) -> Judged:
    """Make the master `out`, with the source put back where the picture is better left alone.

    Each round puts back more of what breaks a rule with a fallback. Raises ClipFault.
    """
    rules, recipe, folder = rules_with(settings.recipe.rules), settings.recipe, out.parent
    given: Segments = {n: _at_hand(one, folder, settings.store) for n, one in segments.items()}
    plan, undone = of_clean_shots(given, survey, recipe), dict[str, FindingRow]()
    while True:
        current = given
        if plan:
            with fetched(survey.source_uri, Path(settings.cache), survey.source_token) as source:
                current = rewritten(given, plan, survey, source, recipe, folder)
        changes = Changes.between(survey, current)
        regions = _join_regions(current, folder / "regions.parquet")
        parts = partial(batches, regions) if regions else tuple
        tags = file_tags(survey, settings, changes)
        master = _master(clip, survey, current, settings, tags, out, parts())
        frames = master.measured.frames()
        evidence = master.evidence(survey, frames, parts())
        found = judged(survey.clip_id, evidence, rules)
        more, scopes = of_rules(evidence, rules, survey, plan)
        if not more:
            findings = (*found, *undone.values())
            return Judged(current, changes, master, frames, regions, plan, findings)
        for finding in found:
            if scope := scopes.get(finding.rule):
                first = undone.get(finding.rule, finding)  # that of the picture as restored
                undone[finding.rule] = replace(first, put_back=scope)
        plan = (*plan, *more)


def verified_files(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    tags: Mapping[str, str],
    out: Path,
    repairs: Iterable[pa.Table],
) -> tuple[Master, Outputs]:
    """Make the master `out` from segments, and the derived files beside it; verify all of them.

    `tags` are those of `pipeline.proof.provenance`, `repairs` the regions of the clip. Raises
    ClipFault.
    """
    master = _master(clip, survey, segments, settings, tags, out, repairs)
    return master, _outputs(master, survey, settings)


def _outputs(master: Master, survey: Survey, settings: Settings) -> Outputs:
    """The master and the files derived from it, verified, by its side. Raises ClipFault."""
    times_ms = [to_ms(p, survey.probe.time_base) + master.report.shift_ms for p in survey.pts]
    order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
    return make_outputs(
        master.path, master.probe, order, times_ms, settings.recipe, master.path.parent
    )


def _master(
    clip: Clip,
    survey: Survey,
    segments: Segments,
    settings: Settings,
    tags: Mapping[str, str],
    out: Path,
    repairs: Iterable[pa.Table],
) -> Master:
    """Join, decode again, compare and measure. Raises ClipFault."""
    cache, limits = Path(settings.cache), settings.recipe.limits
    paths = [Path(segment.uri) for segment in segments.values()]
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
            found = measured(
                verified, source, reference, survey, limits, repairs=repairs,
                shard_starts=[segment.start for segment in segments.values()],
            )  # fmt: skip
    return Master(out, decoder.probe, report, found)


def _at_hand(segment: SegmentRecord, folder: Path, store: Store) -> SegmentRecord:
    """The record of a segment whose files are on this machine."""

    def at_hand(uri: str, name: str) -> str:
        return str(_local(uri, folder / f"{segment.shard}-{name}", store)) if uri else ""

    return replace(
        segment,
        uri=at_hand(segment.uri, "segment.mkv"),
        regions_uri=at_hand(segment.regions_uri, "regions.parquet"),
        changes_uri=at_hand(segment.changes_uri, "changes.mkv"),
    )


def _join_regions(segments: Segments, joined: Path) -> Path | None:
    """Put the regions of all segments into the file `joined`. None if there are none."""
    parts = [Path(s.regions_uri) for s in segments.values() if s.regions_uri]
    if not parts:
        return None
    join_regions(parts, joined)
    return joined


def _change_map(
    segments: Segments, survey: Survey, settings: Settings, uri: str, master: Path
) -> dict[str, Path]:
    """The joined change map by its address; nothing if the recipe wants none."""
    if not settings.recipe.change_map:
        return {}
    parts = [Path(segment.changes_uri) for segment in segments.values()]
    out = master.parent / f"{master.name}{change_film.SUFFIX}"
    change_film.join(parts, survey.probe, survey.pts, out, settings.recipe.limits)
    return {f"{uri}{change_film.SUFFIX}": out}


def _residual(survey: Survey, settings: Settings, master: Path) -> Residual | None:
    """The residual beside the master; None if the recipe wants none, or the clip can have none."""
    if not settings.recipe.residual:
        return None
    with fetched(survey.source_uri, Path(settings.cache), survey.source_token) as source:
        return write_residual(source, master, survey, settings.recipe)


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
