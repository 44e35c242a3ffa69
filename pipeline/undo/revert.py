"""Put the source's pixels back into a published clip, exactly, and record who asked for it.

The master and the source are decoded side by side. The new master is written, joined, decoded again
and compared as in `pipeline.assemble`; the derived files are made anew from it. The source is only
read.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.assemble import Master, verified_files
from pipeline.clip.box import put_back
from pipeline.clip.changes import Changes, digital_source_type
from pipeline.clip.clip import Clip
from pipeline.clip.result import Cell
from pipeline.clip.segment import SegmentRecord
from pipeline.detect.verdict import FrameRow, verdict_columns
from pipeline.media.decoder import Decoder
from pipeline.media.faults import mismatch
from pipeline.media.segments import SegmentWriter
from pipeline.media.verify import framemd5
from pipeline.proof.fixity import local_file
from pipeline.proof.outputs import Outputs
from pipeline.proof.premis import Restoration
from pipeline.proof.premis_revert import PutBack, amended
from pipeline.proof.provenance import file_tags
from pipeline.proof.record import Digest, sealed
from pipeline.proof.statement import statement
from pipeline.runs import lease
from pipeline.runs.ledger import Ledger
from pipeline.runs.process import Process
from pipeline.runs.results import series_json
from pipeline.runs.settings import Settings
from pipeline.runs.usage import Usage
from pipeline.sources.fetch import checksums, fetched
from pipeline.sources.sequence import runs as runs_of
from pipeline.sources.sequence import words
from pipeline.store import cache, layout, storage
from pipeline.store.private import private_folder, temporary
from pipeline.undo.access import DELETED, access_copy
from pipeline.undo.changes import Beside, made_anew
from pipeline.undo.published import PublishedClip, published, refuse
from pipeline.undo.publishing import SERIES, Commit, commit, finish
from pipeline.undo.regions import standing, sums
from pipeline.undo.selection import Request, Selection
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe

TAG = "RESTORATION_REVERTED"


@dataclass(frozen=True)
class Reverted:
    """What a revert did."""

    clip_id: str
    selection: Selection
    frames: int  # whose pixels it changed; 0 if they were the source's already
    uri: str
    sha256: str  # of the master that stands now
    frames_changed: int  # of the clip, that still differ from the source
    access_deleted: bool = False  # an access copy waits until a person accepts the new version

    def to_dict(self) -> dict[str, object]:
        """The values for a program."""
        first, last = self.selection.frames[0], self.selection.frames[-1]
        region = self.selection.region
        return {
            "clip_id": self.clip_id, "first_frame": first, "last_frame": last,
            "shot": self.selection.shot, "region": None if region is None else str(region),
            "region_widened": self.selection.widened, "frames": self.frames,
            "frames_changed": self.frames_changed, "output_uri": self.uri,
            "output_sha256": self.sha256, "access_deleted": self.access_deleted,
        }  # fmt: skip


def revert_clip(clip: str, out: str, request: Request, *, by: str = "", note: str = "") -> Reverted:
    """Put back what was asked, publish the clip again and record it. Takes the output's lease.

    `by` is the name of the person who asks; without it, the user of this process. Raises
    ArchiveError if the clip cannot be put back, Locked if another process writes to the output, or
    ClipFault if the source is gone or has changed.
    """
    with lease.held(out, "revert") as mine:
        return reverted(clip, out, request, mine, by=by, note=note)


def reverted(
    clip: str,
    out: str,
    request: Request,
    mine: lease.Lease,
    *,
    by: str = "",
    note: str = "",
    review: Mapping[str, object] | None = None,
) -> Reverted:
    """`revert_clip` for a caller that holds the lease of the output.

    `review` is the row of tables/reviews that asks for it. It is recorded if a frame is changed.
    """
    finish(out)
    found = published(clip, out)
    refuse(found, out)
    survey = found.survey
    selection = request.of(survey.probe, survey.by_fields, len(survey.pts), found.shots)
    work = _Work(found, out, selection, by or Process.here().actor, note, review)
    try:
        with temporary("revert-") as folder:
            return work.done(Path(folder), mine)
    finally:
        cache.discard(survey.source_uri, work.cache)


class _Work:
    """One revert."""

    def __init__(
        self,
        found: PublishedClip,
        out: str,
        selection: Selection,
        by: str,
        note: str,
        review: Mapping[str, object] | None,
    ) -> None:
        self.found, self.out, self.selection, self.by, self.note = found, out, selection, by, note
        self.review = review
        self.begun = Usage.now()
        self.shares: dict[str, Cell] = {}  # of the change map, if there is one
        self.cache = private_folder("sources")
        now = datetime.now(UTC)
        self.at = now.isoformat(timespec="seconds")
        self.run = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        recipe: Recipe = found.recipe
        weights, code = str(found.row["weights_sha256"]), version("archive-restore")
        self.settings = Settings(Ledger(out, self.run), recipe, weights, code, str(self.cache))

    def done(self, folder: Path, mine: lease.Lease) -> Reverted:
        """Make, verify and publish the new version."""
        found, survey = self.found, self.found.survey
        segment, count = self._segment(folder / "segment.mkv")
        master = found.master
        if not count:
            changed = int(str(found.row["frames_changed"]))
            return Reverted(
                found.clip_id, self.selection, 0, found.uri, master.sha256, changed
            )  # fmt: skip
        segments = {0: segment}
        changes = Changes.between(survey, segments)
        tags = {**file_tags(survey, self.settings, changes), TAG: self._all_frames()}
        clip, repairs = Clip(found.clip_id, survey.source_uri), self._regions(found.reverts)
        new, outputs = verified_files(
            clip, survey, segments, self.settings, tags, folder / master.name, repairs
        )
        beside = made_anew(found, self.selection, new.path, self.cache)
        self.shares = beside.shares
        self._stage(new, outputs, changes, beside)
        mine.check()
        digest = outputs.digests[0]
        commit(self.out, self._commit(digest, count, changes))
        finish(self.out)
        return Reverted(
            found.clip_id, self.selection, count, found.uri, digest.sha256, changes.frames,
            access_copy(found.record) is not None,
        )  # fmt: skip

    def _segment(self, path: Path) -> tuple[SegmentRecord, int]:
        """Write all frames of the new master. Returns its record, and the frames that changed."""
        found, survey, limits = self.found, self.found.survey, self.settings.recipe.limits
        with fetched(survey.source_uri, self.cache) as source, local_file(found.uri) as former:
            if checksums(source)["sha256"] != survey.source_sha256:
                raise ClipFault(
                    Reason.FIXITY_MISMATCH,
                    f"{survey.source_uri} is not the source that was restored: its SHA-256 differs",
                )
            if storage.sha256_file(former) != found.master.sha256:
                raise ArchiveError(f"{found.uri} differs from its record: run `verify`")
            with (
                Decoder(source, limits) as before,
                Decoder(former, limits) as after,
                SegmentWriter(path, survey.probe, self.settings.recipe.slices) as writer,
            ):
                count = self._put_back(before, after, writer)
        return self._record(path, tuple(writer.crcs)), count

    def _put_back(self, before: Decoder, after: Decoder, writer: SegmentWriter) -> int:
        survey, count = self.found.survey, 0
        pix_fmt, region = survey.probe.pix_fmt, self.selection.region
        for source, former in zip(before, after, strict=True):
            if source.crc32 != survey.crc32[source.index]:
                raise ClipFault(
                    Reason.DECODE_ERROR,
                    f"frame {source.index} of the source decodes to another picture than before",
                )
            planes = former.planes
            if source.index in self.selection.frames:
                planes = put_back(planes, source.planes, pix_fmt, region)
            writer.write(planes)
            count += writer.crcs[-1] != former.crc32
        if len(writer.crcs) != len(survey.pts):
            raise mismatch(after.path.name, f"{len(writer.crcs)} frames, not {len(survey.pts)}")
        return count

    def _record(self, path: Path, crcs: tuple[int, ...]) -> SegmentRecord:
        """The segment, with the figures of the restoration. They count for what is left of it."""
        row = self.found.row
        put = self.selection.share(self.found.survey.probe, len(crcs))
        source, defects, low, high = (
            float(str(row.get(name) if row.get(name) is not None else default))
            for name, default in (("source_share", 1), ("defect_share", 0),
                                  ("exposure_gain_min", 1), ("exposure_gain_max", 1))
        )  # fmt: skip
        return SegmentRecord(
            0, 0, len(crcs), crcs, seconds_decode=0.0, seconds_model=0.0, seconds_encode=0.0,
            source_share=source + put * (1 - source), defect_share=defects * (1 - put),
            exposure_gain_min=low, exposure_gain_max=high, uri=str(path),
        )  # fmt: skip

    def _all_frames(self) -> str:
        """All frames with source pixels put back, in words."""
        return ", ".join(words(runs_of(sorted(self._frames()))))

    def _frames(self) -> set[int]:
        """The frames of this revert and of those before it."""
        before = [range(one["first_frame"], one["last_frame"] + 1) for one in self.found.reverts]
        return {frame for frames in (*before, self.selection.frames) for frame in frames}

    def _stage(self, new: Master, outputs: Outputs, changes: Changes, beside: Beside) -> None:
        """Write the new files, and the record that they replace, without touching the old ones."""
        found, out, store = self.found, self.out, self.settings.store
        survey, name = found.survey, found.master.name
        folder = layout.publishing_folder(out, found.clip_id)
        staged, digest = layout.publishing_file(folder, name), outputs.digests[0]
        clip = Clip(found.clip_id, survey.source_uri)
        facts = PutBack(
            Restoration(
                clip, survey, self.settings, changes, digest, self.at, outputs.described
            ),
            found.master, str(self.selection), self.by, self.note, access_copy(found.record),
        )  # fmt: skip
        premis = amended(storage.read_bytes(f"{found.uri}.premis.xml"), facts)
        sidecars = {
            f"{staged}.framemd5": framemd5(survey.probe, survey.pts, new.measured.md5s).encode(),
            f"{staged}.premis.xml": premis,
        }
        if found.has(".sha256"):
            sidecars[f"{staged}.sha256"] = digest.line
        large = {f"{staged}{suffix}": path for suffix, path in beside.files.items()}
        files = outputs.publish(store, staged, sidecars, large) | beside.entries
        frames = new.measured.frames()
        series = series_json(found.clip_id, frames)
        store.write_bytes(layout.publishing_file(folder, SERIES), series)
        former = layout.former_record(out, found.clip_id, self.run)
        store.write_bytes(former, found.sealed)
        reverts = [*found.reverts, self._entry(former)]
        row = self._row(new, digest, changes, reverts, frames)
        record = {
            **found.record,
            "streams": [vars(stream) for stream in new.report.streams],
            "tags": dict(new.report.tags),
            "row": row,
            "statement": statement(row, self.settings.recipe.to_dict()),
            **files,
            "work_key": found.row["work_key"],
            "reverts": reverts,
        }
        if self.review is not None:
            record["reviews"] = [*found.record.get("reviews", ()), self.review]
        for name in ("record_sha256", "released", "signed"):
            record.pop(name, None)
        store.write_bytes(f"{staged}.json", sealed(record))

    def _row(
        self,
        new: Master,
        digest: Digest,
        changes: Changes,
        reverts: Sequence[Mapping[str, Any]],
        frames: Sequence[FrameRow],
    ) -> Mapping[str, Any]:
        """The clip's row with the facts that the revert changed."""
        row: dict[str, Cell] = self.found.row
        regions_uri, regions = self._regions_uri, list(self._regions(reverts))
        findings = new.findings(self.found.survey, frames, regions, self.settings.recipe)
        unknown = {name: None for name in row if name.startswith(("seconds_", "ref_"))}
        spent = self.begun.spent()
        return {
            **row, **unknown, **changes.shares, **new.measured.summary(),
            **verdict_columns(findings, untouched=not changes.frames),
            **(asdict(sums(regions)) if regions_uri else {}), "regions_uri": regions_uri,
            "run": self.run, "state": "published" if changes.frames else "untouched", "retries": 0,
            "digital_source_type": digital_source_type(changes.frames, 0),
            "frames_changed": changes.frames, "frames_reverted": len(self._frames()),
            "output_sha256": digest.sha256, "output_bytes": digest.size,
            "seconds_total": round(spent.clock, 3), "seconds_cpu": round(spent.cpu, 3),
            **self.shares,
            "shot_rows": [vars(shot) for shot in self.found.shots],
            "finding_rows": [vars(finding) for finding in findings],
        }  # fmt: skip

    @property
    def _regions_uri(self) -> Cell:
        return self.found.record["row"].get("regions_uri")

    def _regions(self, reverts: Sequence[Mapping[str, Any]]) -> Iterator[pa.Table]:
        """The regions that stand after these reverts."""
        return standing({**self.found.row, "regions_uri": self._regions_uri}, reverts)

    def _entry(self, former: str) -> dict[str, object]:
        """This revert in the record: who, when, what, and the version before it."""
        selection, row = self.selection, self.found.row
        return {
            "run": self.run, "at": self.at, "by": self.by, "note": self.note,
            "first_frame": selection.frames[0], "last_frame": selection.frames[-1],
            "shot": selection.shot,
            "region": str(selection.region) if selection.region else None,
            "former": {
                "run": row["run"], "output_sha256": row["output_sha256"],
                "output_bytes": row["output_bytes"], "frames_changed": row["frames_changed"],
                "record": former.removeprefix(f"{self.out}/"),
                "record_sha256": Digest.of("", self.found.sealed).sha256,
            },
        }  # fmt: skip

    def _commit(self, digest: Digest, count: int, changes: Changes) -> Commit:
        found, selection, recipe = self.found, self.selection, self.settings.recipe
        audit = {
            "asked_by": self.by, "note": self.note, "what": str(selection), "frames": count,
            "former_sha256": found.master.sha256, "output_sha256": digest.sha256,
            **({"access_copy": DELETED} if access_copy(found.record) else {}),
        }  # fmt: skip
        row = {
            "kind": "revert", "run": self.run, "started": self.at, "sessions": 1, "clips": 1,
            "recipe": recipe.name, "recipe_sha256": found.row["recipe_sha256"],
            "model": found.row["model"], "weights_sha256": found.row["weights_sha256"],
            "code": self.settings.code, "published": 1, "frames": changes.of_frames,
            "seconds": round(self.begun.spent().clock, 3), "exit_code": 0,
        }  # fmt: skip
        return Commit(found.clip_id, self.run, found.uri, self.at, audit, row, self.review)
