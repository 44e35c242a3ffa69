"""Sign the files of a published clip with C2PA manifests, and record it.

The signed files replace the former ones in one step (`pipeline.undo.publishing`). Pictures and
sound stay as they are, and that is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.media.muxer import stream_hashes
from pipeline.proof import credentials
from pipeline.proof.assertions import manifest
from pipeline.proof.fixity import check_published, local_file
from pipeline.proof.premis_signature import Signature, SignedFile, signed
from pipeline.proof.record import Digest, listed, sealed
from pipeline.proof.signing_key import SigningKey
from pipeline.runs import lease
from pipeline.runs.process import Process
from pipeline.store import layout, storage
from pipeline.store.private import temporary
from pipeline.store.storage import DIRECT
from pipeline.undo.published import record_of
from pipeline.undo.publishing import Commit, commit, finish
from pipeline.undo.regions import standing
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from schemas.recipe import Limits


@dataclass(frozen=True)
class Signed:
    """The files of a clip that carry a manifest now. `manifest` is a file name, or `embedded`."""

    clip_id: str
    subject: str  # of the certificate
    manifests: Mapping[str, str]  # by file name
    new: bool  # False: the clip was signed before


def sign_clip(clip: str, out: str, key: SigningKey, *, again: bool = False) -> Signed:
    """Sign the master and the derived files of a clip. Takes the output's lease.

    A clip that is signed already is left alone, unless `again`. Raises ArchiveError if the clip is
    not published, if a file differs from its record, or if a manifest does not validate, and
    Locked. Then nothing is changed.
    """
    with lease.held(out, "sign") as mine:
        finish(out)
        uri, _, record = record_of(clip, out)
        before = record.get("signed")
        if before and not again and not _unsigned(record, before):
            return Signed(clip, before["subject"], before["manifests"], new=False)
        if faults := check_published(uri).faults:
            lines = "; ".join(f"{fault.uri}: {fault.sentence}" for fault in faults)
            raise ArchiveError(f"{clip} was not signed: {lines}", exit_code=ExitCode.FAULTS)
        facts = _stage(clip, out, uri, record, key)
        mine.check()
        manifests = _manifests(facts.files)
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{key.sha256[:6]}"
        audit = {"asked_by": Process.here().actor, "certificate_sha256": key.sha256,
                 "manifests": manifests}  # fmt: skip
        commit(out, Commit(clip, run, uri, facts.at, audit, None, action="clip_signed"))
        finish(out)
        return Signed(clip, key.subject, manifests, new=True)


def _stage(clip: str, out: str, uri: str, record: dict[str, Any], key: SigningKey) -> Signature:
    """Write the signed files, the PREMIS document and the record beside the clip, not over it."""
    place, _, master = uri.rpartition("/")
    folder, code = layout.publishing_folder(out, clip), version("archive-restore")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    names = [file for file in listed(record) if _is_signed(file.name)]
    done, digests = list[SignedFile](), dict[str, Digest]()
    for former in names:
        regions = standing(record["row"], record.get("reverts", ()), DIRECT)
        definition = manifest(
            record, former.name, credentials.FORMATS[Path(former.name).suffix], code, regions
        )
        with temporary("sign-") as work:
            new = _signed(f"{place}/{former.name}", definition, key, Path(work))
            digest = Digest(new.name, new.stat().st_size, storage.sha256_file(new))
            storage.upload(new, layout.publishing_file(folder, new.name))
        beside = new.name != former.name
        done.append(SignedFile(former if beside else digest, former, digest if beside else None))
        digests[digest.name] = digest
    facts = Signature(code, at, tuple(done), key.subject, key.sha256)
    premis = f"{master}.premis.xml"
    document = signed(storage.read_bytes(f"{place}/{premis}"), facts)
    digests[premis] = Digest.of(premis, document)
    storage.write_bytes(layout.publishing_file(folder, premis), document)
    storage.write_bytes(
        layout.publishing_file(folder, f"{master}.json"), sealed(_amended(record, digests, facts))
    )
    return facts


def _unsigned(record: Mapping[str, Any], signed: Mapping[str, Any]) -> set[str]:
    """Files without a manifest: an access copy that was made after the others were signed."""
    return {one.name for one in listed(record) if _is_signed(one.name)} - signed["manifests"].keys()


def _is_signed(name: str) -> bool:
    """Whether a file gets a manifest: master and derived files; no change map, no residual."""
    sidecars = (".changes.mkv", ".residual.mkv")
    return name.endswith(tuple(credentials.FORMATS)) and not name.endswith(sidecars)


def _signed(uri: str, definition: Mapping[str, Any], key: SigningKey, folder: Path) -> Path:
    """The signed copy of a file, or its manifest. It validates, and its streams are the same."""
    name = uri.rpartition("/")[2]
    embeds = Path(name).suffix in credentials.EMBEDDED
    made = folder / (name if embeds else f"{name}{credentials.SUFFIX}")
    with local_file(uri) as file:
        credentials.sign_file(file, definition, key, made)
        found = credentials.validated(made) if embeds else credentials.validated(file, made)
        if not found.valid:
            raise ArchiveError(
                f"{name} was not signed: c2pa-python calls its manifest {found.state}: "
                f"{', '.join(found.problems)}"
            )
        if embeds and stream_hashes(file, Limits()) != stream_hashes(made, Limits()):
            raise ArchiveError(f"{name} was not signed: with the manifest its streams differ")
    return made


def _manifests(files: Sequence[SignedFile]) -> dict[str, str]:
    return {one.file.name: one.manifest.name if one.manifest else "embedded" for one in files}


def _amended(
    record: Mapping[str, Any], digests: Mapping[str, Digest], facts: Signature
) -> dict[str, Any]:
    """The record with the digests of the new files, and with who signed."""
    files = {name: {"size": d.size, "sha256": d.sha256} for name, d in digests.items()}
    new = {
        **record,
        "files": {**record["files"], **files},
        "signed": {
            "at": facts.at, "subject": facts.subject,
            "certificate_sha256": facts.certificate_sha256, "manifests": _manifests(facts.files),
        },
    }  # fmt: skip
    new.pop("record_sha256", None)
    return new
