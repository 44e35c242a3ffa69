"""What a person decided about a published clip: accepted, put back, to run again, or a question.

A review is a row of tables/reviews, an event in the PREMIS document, an entry in the record and in
the audit log. All of it counts from one step on (`pipeline.undo.publishing`), so a review that is
interrupted is either not there or completed by the next one who writes to the output.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow.compute as pc

from pipeline.clip.box import Box
from pipeline.proof.premis_review import Looked, reviewed
from pipeline.proof.record import Digest, listed, sealed
from pipeline.runs import lease
from pipeline.runs.audit import AuditLog
from pipeline.runs.process import Process
from pipeline.store import layout, storage
from pipeline.undo.access import DELETED, decided
from pipeline.undo.published import record_of
from pipeline.undo.publishing import Commit, commit, finish
from pipeline.undo.regions import region_ids, standing
from pipeline.undo.revert import Reverted, reverted
from pipeline.undo.selection import Request
from schemas.errors import ArchiveError
from schemas.judgement import DECISIONS

OF_A_REGION = ("accept", "revert")  # what may be decided about one region


@dataclass(frozen=True)
class Review:
    """A decision about a clip, as it was recorded."""

    clip_id: str
    decision: str
    by: str
    note: str
    run: str  # id of the review
    put_back: Reverted | None = None  # what `revert` did
    access: str = ""  # `made` or `deleted`: what happened to an access copy that waits for a person

    def to_dict(self) -> dict[str, object]:
        """The values for a program."""
        facts = {name: getattr(self, name) for name in ("clip_id", "decision", "by", "note", "run")}
        facts |= {"access_copy": self.access} if self.access else {}
        return facts | ({"reverted": self.put_back.to_dict()} if self.put_back else {})


def review_clip(
    clip: str, out: str, decision: str, *, by: str = "", note: str = "", region: str = ""
) -> Review:
    """Record what a person decided about a published clip, and do it. Takes the output's lease.

    `accept` takes back an earlier `rerun`, but no accepted suspect. `revert` puts the whole source
    back first. With the id of a `region`, `accept` has the next run repair this suspect, and
    `revert` puts this region back. Without `by`, the user of this process decided. Raises
    ArchiveError for an unknown decision or region, a question without a note, or a clip that is not
    published, and Locked; `revert` raises what `revert_clip` raises.
    """
    check_decision(decision, note, region)
    person = by or Process.here().actor
    with lease.held(out, "review") as mine:
        finish(out)
        return review_held(clip, out, decision, mine, by=person, note=note, region=region)


def check_decision(decision: str, note: str, region: str) -> None:
    """Raise ArchiveError if the parts of a decision do not fit together."""
    if decision not in DECISIONS:
        raise ArchiveError(f"{decision}: give one of {', '.join(DECISIONS)}")
    if decision == "question" and not note.strip():
        raise ArchiveError("a question needs --note: what has somebody else to look at?")
    if region and decision not in OF_A_REGION:
        raise ArchiveError(
            f"{decision} is for a clip: --region goes with {' or '.join(OF_A_REGION)}"
        )


def review_held(
    clip: str,
    out: str,
    decision: str,
    mine: lease.Lease,
    *,
    by: str,
    note: str = "",
    region: str = "",
    key: str = "",
) -> Review:
    """`review_clip` for a caller that holds the lease of the output.

    `key`: six hexadecimal digits that end the id of the review, instead of random ones.
    """
    uri, _, record = record_of(clip, out)
    request = check_region(clip, record, region, decision) if region else Request()
    row = _row(clip, record["row"], decision, by, note, key) | {"region": region or None}
    put_back, access = None, ""
    if decision == "revert":
        put_back = reverted(clip, out, request, mine, by=by, note=note, review=row)
    if put_back is None or not put_back.frames:  # else it is recorded with what was put back
        access = _record(out, uri, record, row, mine)
    elif put_back.access_deleted:
        access = DELETED
    return Review(clip, decision, by, note, str(row["run"]), put_back, access)


def check_region(clip: str, record: Mapping[str, Any], region: str, decision: str) -> Request:
    """The frame and the box of a region that may be decided on. Raises ArchiveError."""
    try:
        frame, box = Box.of_region(region)
    except ValueError as error:
        raise ArchiveError(f"--region {error}") from error
    wanted = "suspect" if decision == "accept" else "repair"
    row, reverts = record["row"], record.get("reverts", [])
    found = any(
        wanted in part.filter(pc.equal(region_ids(part), region))["decision"].to_pylist()
        for part in standing(row, reverts)
    )
    if not found:
        raise ArchiveError(
            f"{clip} has no {wanted} {region}: `archive-restore query --view "
            f"{'suspects' if wanted == 'suspect' else 'largest_repairs'}` lists them"
        )
    if decision == "accept" and reverts:
        raise ArchiveError(
            f"source pixels were put back in {clip}, and restoring it again would undo that: "
            "`archive-restore revert --release` allows it"
        )
    return Request(frames=range(frame, frame + 1), region=box)


def release_clip(clip: str, out: str, *, by: str = "", note: str = "") -> None:
    """Let the next run restore a published clip again. Takes the output's lease.

    Without it, a run leaves a clip alone after a revert. Raises ArchiveError if the clip is not
    published, or Locked.
    """
    with lease.held(out, "revert --release"):
        finish(out)
        uri, _, record = record_of(clip, out)
        person = by or Process.here().actor
        at = datetime.now(UTC).isoformat(timespec="seconds")
        record.pop("record_sha256", None)
        record |= {"work_key": None, "released": {"at": at, "by": person, "note": note}}
        run = str(record["row"]["run"])
        storage.write_bytes(f"{uri}.json", sealed(record))
        AuditLog(out).append("clip_released", run=run, clip_id=clip, asked_by=person, note=note)


def _row(
    clip: str, seen: Mapping[str, Any], decision: str, by: str, note: str, key: str
) -> dict[str, object]:
    """The row of tables/reviews. `seen` is the clip's row of tables/clips."""
    now = datetime.now(UTC)
    return {
        "clip_id": clip, "run": f"{now:%Y%m%dT%H%M%S}-{key or secrets.token_hex(3)}",
        "restored_by": seen["run"], "decision": decision, "by": by, "note": note,
        "at": now.isoformat(timespec="seconds"), "verdict": seen.get("verdict"),
        "verdict_rule": seen.get("verdict_rule"), "output_sha256": seen["output_sha256"],
    }  # fmt: skip


def _record(
    out: str,
    uri: str,
    record: Mapping[str, Any],
    review: Mapping[str, object],
    mine: lease.Lease,
) -> str:
    """Write the review into the papers of the version that stands.

    Returns what happened to an access copy that waits for a person; empty: nothing.
    """
    clip, run, at = (str(review[name]) for name in ("clip_id", "run", "at"))
    name, folder = uri.rpartition("/")[2], layout.publishing_folder(out, clip)
    master = next(file for file in listed(record) if file.name == name)
    sentence = record["row"].get("verdict_sentence") or ""
    former = storage.read_bytes(f"{uri}.premis.xml")
    decision = str(review["decision"])
    access = None if review["region"] else decided(clip, out, record, decision)
    record = access.record if access else record
    copy = access.premis if access else None
    looked = Looked(master, version("archive-restore"), at, review, sentence, copy)
    document = reviewed(former, looked)
    premis = Digest.of(f"{name}.premis.xml", document)
    storage.write_bytes(layout.publishing_file(folder, premis.name), document)
    amended = sealed(_amended(record, review, premis))
    storage.write_bytes(layout.publishing_file(folder, f"{name}.json"), amended)
    mine.check()
    audit = {name: review[name] for name in ("decision", "note", "verdict", "output_sha256")}
    audit |= {"access_copy": access.change} if access else {}
    commit(out, Commit(clip, run, uri, at, {**audit, "asked_by": review["by"]}, None, review))
    finish(out)
    return access.change if access else ""


def _amended(
    record: Mapping[str, Any], review: Mapping[str, object], premis: Digest
) -> dict[str, Any]:
    """The record with the review, and with the digest of the new PREMIS document."""
    new = {
        **record,
        "files": {
            **record["files"], premis.name: {"size": premis.size, "sha256": premis.sha256}
        },
        "reviews": [*record.get("reviews", ()), review],
    }  # fmt: skip
    new.pop("record_sha256", None)
    if review["decision"] == "rerun":
        released = {name: review[name] for name in ("at", "by", "note")}
        new |= {"work_key": None, "released": released}
    elif review["decision"] == "accept" and review["region"]:
        wanted = {*record.get("to_repair", ()), str(review["region"])}
        new |= {"work_key": None, "to_repair": sorted(wanted)}
    elif review["decision"] == "accept":
        new.pop("released", None)
        if not record.get("to_repair"):  # else the next run repairs what was accepted before
            new["work_key"] = record["row"]["work_key"]
    return new
