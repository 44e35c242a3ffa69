"""A published clip as a revert finds it: record, survey, and whether it can be taken back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pipeline.clip.result import Cell, ClipResult, ShotRow
from pipeline.clip.survey import Survey
from pipeline.proof.fixity import published_files
from pipeline.proof.record import Digest, listed, unsealed
from pipeline.runs.ledger import Ledger, runs
from pipeline.runs.row import BESIDE_COLUMNS
from pipeline.store import layout, storage
from pipeline.store.layout import clip_folder
from schemas.errors import ArchiveError, ClipFault
from schemas.manifest import CLIP_ID
from schemas.reasons import Reason
from schemas.recipe import Recipe, parse_recipe_table

RUNS_SEARCHED = 200  # newest first, for what the last manifest said about a clip


@dataclass(frozen=True)
class PublishedClip:
    """The version of a clip that stands."""

    clip_id: str
    uri: str  # of the master
    sealed: bytes  # the record as it lies there
    record: Mapping[str, Any]
    survey: Survey

    @property
    def row(self) -> dict[str, Cell]:
        """The clip's row of tables/clips, without its shots."""
        row = cast(dict[str, Any], self.record["row"])
        return {key: row[key] for key in row if key not in BESIDE_COLUMNS}

    @property
    def shots(self) -> list[ShotRow]:
        return [ShotRow(**shot) for shot in self.record["row"].get("shot_rows", ())]

    @property
    def recipe(self) -> Recipe:
        """The recipe that the clip was restored with."""
        return parse_recipe_table(self.record["recipe"], f"the record of {self.clip_id}")

    @property
    def reverts(self) -> list[dict[str, Any]]:
        """What was put back before, oldest first."""
        return list(self.record.get("reverts", ()))

    @property
    def master(self) -> Digest:
        """The digest of the master in the record."""
        name = self.uri.rpartition("/")[2]
        return next(file for file in listed(self.record) if file.name == name)

    def has(self, suffix: str) -> bool:
        """Whether a file with this suffix was published beside the master."""
        return f"{self.master.name}{suffix}" in {file.name for file in listed(self.record)}

    @property
    def restored_by(self) -> str:
        """The run that restored the clip. Its ledger has the survey."""
        first = self.reverts[0]["former"]["run"] if self.reverts else self.row["run"]
        return str(first)


def published(clip: str, out: str) -> PublishedClip:
    """The published clip with its survey. Raises ArchiveError if one of them is not there."""
    uri, sealed, record = record_of(clip, out)
    row = record["row"]
    by = record["reverts"][0]["former"]["run"] if record.get("reverts") else row["run"]
    try:
        survey = Ledger(out, str(by)).survey(clip)
    except ClipFault as fault:
        raise ArchiveError(
            f"{clip}: the ledger of run {by}, which restored it, has no survey of it ({fault})"
        ) from fault
    return PublishedClip(clip, uri, sealed, record, survey)


def record_of(clip: str, out: str) -> tuple[str, bytes, dict[str, Any]]:
    """The address of a clip's master, and its record as bytes and as values.

    Raises ArchiveError if the clip is not published.
    """
    if not re.fullmatch(CLIP_ID, clip):
        raise ArchiveError(f"{clip!r} is no clip id")
    for uri in published_files(clip_folder(out, clip)):
        if storage.exists(f"{uri}.json"):
            sealed = storage.read_bytes(f"{uri}.json")
            try:
                return uri, sealed, unsealed(sealed)
            except ValueError as error:
                raise ArchiveError(f"{uri}.json was altered: {error}") from error
    raise ArchiveError(f"{clip} is not published in {out}")


def published_clips(out: str) -> list[str]:
    """The ids of all published clips, in order."""
    return [
        clip
        for clip in sorted(storage.folders(layout.clips(out)))
        if any(storage.exists(f"{uri}.json") for uri in published_files(clip_folder(out, clip)))
    ]


def refuse(clip: PublishedClip, out: str) -> None:
    """Raise ArchiveError for a clip whose frames are not those of its source, or an embargo."""
    survey = clip.survey
    why = ""
    if survey.conversion is not None:
        why = (
            f"its fields were converted to frames ({survey.interlace}): the source has "
            f"{survey.source_frames} frames, the published file {len(survey.pts)}"
        )
    elif survey.fill:
        why = f"frames {survey.filled} were made anew: the source holds no picture there"
    elif (last := last_result(clip.clip_id, out)) and last.reason is Reason.EMBARGOED:
        why = "it is under embargo: its source may not be read before that date"
    if why:
        raise ArchiveError(f"{clip.clip_id} cannot be put back: {why}")


def last_result(clip: str, out: str) -> ClipResult | None:
    """How the clip ended in the last run that knew it; None if no run of the last 200 did."""
    for run in runs(out)[::-1][:RUNS_SEARCHED]:
        ledger = Ledger(out, run)
        if ledger.is_done(clip):
            return ledger.result(clip)
    return None
