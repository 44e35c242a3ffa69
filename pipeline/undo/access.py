"""Access copies that wait for a person: made when a clip is accepted, deleted when it no longer is.

The recipe decides (`access_copies = "accepted"`). The copy is derived from the published master and
verified as at the end of a restoration. It appears and goes in the one step of
`pipeline.undo.publishing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.clip.frames import to_ms
from pipeline.clip.scan import scan_order
from pipeline.media.decoder import Decoder
from pipeline.media.profiles import FORMS
from pipeline.proof.fixity import local_file
from pipeline.proof.outputs import ACCESS, derived_file, described
from pipeline.proof.premis import DerivedFile
from pipeline.proof.premis_review import AccessChange
from pipeline.proof.record import Digest, listed
from pipeline.store import layout, storage
from pipeline.store.private import temporary
from pipeline.undo.published import published
from schemas.errors import ArchiveError
from schemas.recipe import parse_recipe_table

MADE, DELETED = "made", "deleted"


@dataclass(frozen=True)
class AccessCopy:
    """An access copy that appears or goes, and the record that says so."""

    change: str  # MADE or DELETED
    file: DerivedFile
    record: Mapping[str, Any]

    @property
    def premis(self) -> AccessChange:
        """What the PREMIS document has to say of it."""
        return AccessChange(self.file, self.change == MADE)


def access_copy(record: Mapping[str, Any]) -> Digest | None:
    """The access copy of a clip that waits for a person; None if it has none, or does not wait."""
    recipe = parse_recipe_table(record["recipe"], "the record")
    files = listed(record) if recipe.access_waits else ()
    suffix = FORMS[ACCESS].suffix
    return next((file for file in files if file.name.endswith(suffix)), None)


def decided(clip: str, out: str, record: Mapping[str, Any], decision: str) -> AccessCopy | None:
    """What a decision about a whole clip does to its access copy; None: nothing.

    A new copy is staged, not published. Raises ArchiveError if the master is not that of the
    record, and ClipFault if no copy can be made of it.
    """
    recipe = parse_recipe_table(record["recipe"], f"the record of {clip}")
    there = access_copy(record)
    if not recipe.access_waits or (decision == "accept") == (there is not None):
        return None
    return _made(clip, out, record) if there is None else _deleted(there, record)


def _made(clip: str, out: str, record: Mapping[str, Any]) -> AccessCopy:
    found = published(clip, out)
    survey, recipe = found.survey, found.recipe
    with local_file(found.uri) as master, temporary("access-") as folder:
        if storage.sha256_file(master) != found.master.sha256:
            raise ArchiveError(f"{found.uri} differs from its record: run `verify`")
        with Decoder(master, recipe.limits, count=1) as decoder:
            first = to_ms(next(iter(decoder)).pts, decoder.probe.time_base)
        due = [to_ms(at, survey.probe.time_base) for at in survey.pts]
        times = [first + at - due[0] for at in due]
        order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
        one, policy = derived_file(
            ACCESS, master, decoder.probe, order, times, recipe, Path(folder)
        )  # fmt: skip
        digest = Digest(one.path.name, one.path.stat().st_size, storage.sha256_file(one.path))
        storage.upload(
            one.path, layout.publishing_file(layout.publishing_folder(out, clip), digest.name)
        )
    outcomes = [outcome.to_dict() for outcome in policy]
    new = {
        **record,
        "files": {
            **record["files"], digest.name: {"size": digest.size, "sha256": digest.sha256}
        },
        "derived": [*record.get("derived", ()), one.to_dict()],
        "policies": {**record.get("policies", {}), ACCESS: outcomes},
    }  # fmt: skip
    return AccessCopy(MADE, described(one, digest, len(outcomes), recipe.access_label), new)


def _deleted(file: Digest, record: Mapping[str, Any]) -> AccessCopy:
    new = {
        **record,
        "files": {name: one for name, one in record["files"].items() if name != file.name},
        "derived": [one for one in record["derived"] if one["profile"] != ACCESS],
        "policies": {name: one for name, one in record["policies"].items() if name != ACCESS},
    }
    if signed := record.get("signed"):
        left = {name: one for name, one in signed["manifests"].items() if name != file.name}
        new["signed"] = {**signed, "manifests": left}
    return AccessCopy(DELETED, DerivedFile(file, ACCESS, FORMS[ACCESS].title, ""), new)
