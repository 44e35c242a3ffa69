"""Fetch a source to this machine: one file, or the files of an image sequence."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pipeline.sources.allowlist import reached
from pipeline.sources.sequence import gaps, is_sequence, numbers
from pipeline.store import local, storage, timely
from pipeline.store.address import is_s3
from pipeline.store.cache import held, local_copy
from pipeline.store.local import ObjectStat, local_path
from pipeline.store.timely import Deadline, TooSlow, within
from schemas.errors import ClipFault
from schemas.manifest import CHECKSUM_DIGITS, SEQUENCE
from schemas.reasons import Reason

CHUNK_BYTES = 1 << 20
LISTING_SECONDS = 600.0  # for the sizes of all files of a sequence on a disk


def members(uri: str) -> list[str]:
    """The address of every file of a sequence. Raises `ClipFault(NOT_FOUND)` if there is none."""
    stem, digits, suffix = SEQUENCE.fullmatch(uri).groups()  # type: ignore[union-attr]
    return [f"{stem}{number:0{digits}}{suffix}" for number in _numbers(uri)]


def missing(uri: str) -> list[str]:
    """The missing numbers of a sequence, such as `103 to 105`. A single file has none."""
    return gaps(_numbers(uri)) if is_sequence(uri) else []


def refuse_gaps(uri: str) -> None:
    """Raises `ClipFault(FRAME_COUNT)` with the missing numbers if a sequence has gaps."""
    holes = missing(uri)
    if holes:
        found = _numbers(uri)
        more = f" and {len(holes) - 5} more" if len(holes) > 5 else ""
        raise ClipFault(
            Reason.FRAME_COUNT,
            f"of the frames {found[0]} to {found[-1]}, {', '.join(holes[:5])}{more} are missing",
        )


def _numbers(uri: str) -> list[int]:
    if uri.startswith("file:"):
        raise ClipFault(Reason.URI_REFUSED, f"{uri}: give the sequence as a path or as s3://")
    found = numbers(uri, storage.listing(uri.rpartition("/")[0] or "."))
    if not found:
        raise ClipFault(Reason.NOT_FOUND, f"no file is named {uri}")
    return found


def source_token(uri: str) -> str:
    """Size and modification mark of a file or sequence, as `size:mark`. The content is not read.

    Raises `ClipFault(URI_REFUSED)` if the address, links followed, is not in an allowed place.
    """
    if not reached(uri):
        raise ClipFault(Reason.URI_REFUSED, f"{uri} lies outside of the allowed places")
    if not is_sequence(uri):
        stat = _stat(uri)
        return f"{stat.size}:{stat.token}"
    digest, size = hashlib.sha256(), 0
    for member in members(uri):
        stat = _stat(member)
        size += stat.size
        digest.update(f"{stat.size}:{stat.token}\n".encode())
    return f"{size}:{digest.hexdigest()}"


def token_in_time(uri: str) -> str:
    """The `source_token`, also of a source on a disk that hangs.

    Raises `ClipFault(STORE_ERROR)` if the disk does not answer. A store has deadlines of its own.
    """
    if is_s3(uri):
        return source_token(uri)
    seconds = LISTING_SECONDS if is_sequence(uri) else timely.START_SECONDS
    with unreadable(uri):
        return within(seconds, lambda: source_token(uri))


def _stat(uri: str) -> ObjectStat:
    """Size and token of a file. Raises ClipFault as `unreadable` does."""
    try:
        return storage.stat(uri)
    except (OSError, ClipFault):
        with unreadable(uri):
            raise


@contextmanager
def fetched(uri: str, cache: Path, token: str = "", current: bool = False) -> Iterator[Path]:
    """Yield a local path with the content of the source. For a sequence it is the pattern.

    `token` is from an earlier `source_token`; `current`: it was asked for just now. Both save
    requests to the store.
    """
    if not is_sequence(uri):
        with local_copy(uri, cache, token.partition(":")[2], current) as path:
            yield path
        return
    found = members(uri)
    if not is_s3(uri):
        yield local_path(uri)
        return
    stem = uri.partition("%")[0]  # it may name the clip: the copies are numbers alone

    def make(folder: Path) -> None:
        part = folder.with_name(folder.name + ".part")
        part.mkdir(exist_ok=True)
        for member in found:
            storage.download(member, part / member.removeprefix(stem))
        part.rename(folder)

    with held(cache, uri, source_token(uri), make) as folder:
        yield folder / uri.removeprefix(stem)


@contextmanager
def unreadable(uri: str) -> Iterator[None]:
    """Turn an error of the operating system into the clip's fault.

    A disk that cannot read a source cannot read it later, so `EIO` is `DECODE_ERROR` here. In an
    output it stays a fault of the store.
    """
    try:
        with local.faults(uri):
            yield
    except TooSlow as slow:
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: {slow}") from slow
    except ClipFault as fault:
        if getattr(fault.__cause__, "errno", None) != errno.EIO:
            raise
        sentence = f"{uri}: the disk cannot read it (input/output error)"
        raise ClipFault(Reason.DECODE_ERROR, sentence) from fault


def checksums(path: Path) -> dict[str, str]:
    """MD5 and SHA-256 of a local source, from one reading.

    A sequence counts as its files, one after another. Raises ClipFault for a file that cannot be
    read, or that its disk does not give in time.
    """
    digests = [hashlib.new(name, usedforsecurity=False) for name in CHECKSUM_DIGITS]
    for name in members(str(path)) if is_sequence(path) else [str(path)]:
        with unreadable(name):
            size = within(timely.START_SECONDS, partial(os.path.getsize, name))
            within(Deadline(size).seconds, partial(_read_into, digests, Path(name)))
    return {digest.name: digest.hexdigest() for digest in digests}


def _read_into(digests: Sequence[hashlib._Hash], path: Path) -> None:
    with local.open_regular(path) as stream:
        deadline = Deadline(os.fstat(stream.fileno()).st_size)
        while chunk := stream.read(CHUNK_BYTES):
            deadline.check()
            for digest in digests:
                digest.update(chunk)
