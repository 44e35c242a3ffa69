"""Check published files against the record beside them.

The record (`<clip>_rst.mkv.json`) holds the size and the SHA-256 of every file of its clip. It ends
with its own SHA-256. A change of one byte is found, and so is the file that changed. One file is
read at a time, so memory does not grow with their number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline.media.decoder import Decoder
from pipeline.media.verify import plane_md5
from pipeline.proof.credentials import validated
from pipeline.proof.record import PUBLISHED_NAME, Digest, listed, read_record
from pipeline.store import layout, storage
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

Problem = Literal["missing", "altered", "unreadable", "undecodable", "unexpected"]


class FileFault(NamedTuple):
    """A file that differs from its record."""

    uri: str
    problem: Problem
    sentence: str


class Checked(NamedTuple):
    """The result of checking one published clip or one bag."""

    uri: str
    files: int
    size_bytes: int
    faults: list[FileFault]


def published_files(prefix: str) -> Iterator[str]:
    """Yield the address of every master below an output folder or a clip's folder, in order.

    If `prefix` is a published file, yield the master beside it. A master counts even if it is
    lost, as long as one file beside it exists.
    """
    folder, _, name = prefix.rpartition("/")
    match = PUBLISHED_NAME.fullmatch(name)
    if match and not match[3]:
        yield f"{folder}/{match[1]}.mkv" if folder else f"{match[1]}.mkv"
        return
    clips = layout.clips(prefix)
    root = clips if storage.folders(clips) else prefix
    for folder, uris in groupby(storage.listing(root), key=lambda uri: uri.rpartition("/")[0]):
        matches = [PUBLISHED_NAME.fullmatch(uri.rpartition("/")[2]) for uri in uris]
        yield from sorted({f"{folder}/{match[1]}.mkv" for match in matches if match})


def check_published(uri: str, *, decode: bool = False) -> Checked:
    """Compare the files of a clip with their record. `decode`: compare the frames as well."""
    try:
        record = read_record(uri)
    except ClipFault as fault:
        sentence = "the record is missing: publishing did not finish, or the record was lost"
        return Checked(uri, 0, 0, [_unread(f"{uri}.json", fault, sentence)])
    except ValueError as error:
        sentence = f"{error}; no file was compared with it"
        return Checked(uri, 1, 0, [FileFault(f"{uri}.json", "altered", sentence)])
    folder, files = uri.rpartition("/")[0], listed(record)
    faults = [fault for file in files for fault in _check_file(f"{folder}/{file.name}", file)]
    if not files:
        faults.append(
            FileFault(f"{uri}.json", "missing", "it has no digests of the files beside it")
        )
    if decode and f"{uri}.framemd5" not in {fault.uri for fault in faults}:
        faults += _check_frames(uri, _limits(record))
    return Checked(uri, len(files) + 1, sum(file.size for file in files), faults)


def check_manifests(uri: str, anchors: bytes) -> tuple[int, list[FileFault]]:
    """Validate the C2PA manifests of a clip. Returns their number, and what is wrong.

    `anchors`: trusted certificates in PEM. Raises ArchiveError if c2pa-python is missing.
    """
    try:
        signed = read_record(uri).get("signed", {}).get("manifests", {})
    except (ClipFault, ValueError):
        return 0, []  # `check_published` reports it
    if not signed:
        return 0, [FileFault(uri, "missing", "it has no C2PA manifest: it was not signed")]
    folder, faults = uri.rpartition("/")[0], []
    for name, where in signed.items():
        with local_file(f"{folder}/{name}") as file, ExitStack() as stack:
            beside = where != "embedded"
            manifest = stack.enter_context(local_file(f"{folder}/{where}")) if beside else None
            found = validated(file, manifest, anchors)
        if not found.valid:
            why = f"its C2PA manifest is {found.state.lower()}: {', '.join(found.problems)}"
            faults.append(FileFault(f"{folder}/{name}", "altered", why))
    return len(signed), faults


def _check_file(uri: str, expected: Digest) -> Iterator[FileFault]:
    try:
        with local_file(uri) as path:
            size, sha256 = storage.stat(path).size, storage.sha256_file(path)
    except ClipFault as fault:
        yield _unread(uri, fault, "the record lists it, but the file does not exist")
        return
    if size != expected.size:
        yield FileFault(uri, "altered", f"it has {size} bytes, {expected.size} were published")
    elif sha256 != expected.sha256:
        yield FileFault(uri, "altered", f"its SHA-256 is {sha256}, {expected.sha256} was published")


def _check_frames(uri: str, limits: Limits) -> Iterator[FileFault]:
    """Yield a fault for the first frame whose MD5 differs from the `.framemd5`."""
    try:
        with (
            local_file(f"{uri}.framemd5") as md5s,
            local_file(uri) as path,
            Decoder(path, limits) as out,
        ):
            expected = _frame_md5s(md5s)
            for frame in out:
                if plane_md5(frame.planes) != next(expected, ""):
                    sentence = f"frame {frame.index} decodes to another picture than published"
                    yield FileFault(uri, "altered", sentence)
                    return
            if missing := sum(1 for _ in expected):
                yield FileFault(uri, "altered", f"{missing} frames fewer than published")
    except ClipFault as fault:
        if fault.reason is not Reason.NOT_FOUND:  # a missing file is reported already
            yield FileFault(uri, "undecodable", fault.message)


def _limits(record: Mapping[str, Any]) -> Limits:
    """The limits that the clip was restored with. Limits of other versions are ignored."""
    recorded = record.get("recipe", {}).get("limits", {})
    known = {field.name for field in fields(Limits)}
    return Limits(**{name: value for name, value in recorded.items() if name in known})


def _frame_md5s(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        yield from (line.rpartition(",")[2].strip() for line in lines if not line.startswith("#"))


@contextmanager
def local_file(uri: str) -> Iterator[Path]:
    """Yield a local file, or a temporary download of an object."""
    if not is_s3(uri):
        yield local_path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="ar-verify-") as folder:
        path = Path(folder) / uri.rpartition("/")[2]
        storage.download(uri, path)
        yield path


def _unread(uri: str, fault: ClipFault, missing: str) -> FileFault:
    if fault.reason is Reason.NOT_FOUND:
        return FileFault(uri, "missing", missing)
    return FileFault(uri, "unreadable", fault.message)
