"""Sources as the stages see them: one file, or an image sequence of many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.sources.allowlist import reached
from pipeline.sources.sequence import gaps, is_sequence, numbers
from pipeline.store import storage
from pipeline.store.cache import held, local_copy
from schemas.errors import ClipFault
from schemas.manifest import SEQUENCE
from schemas.reasons import Reason

CHUNK_BYTES = 1 << 20


def members(uri: str) -> list[str]:
    """The address of every file of a sequence. Raises `ClipFault` for none."""
    stem, digits, suffix = SEQUENCE.fullmatch(uri).groups()  # type: ignore[union-attr]
    return [f"{stem}{number:0{digits}}{suffix}" for number in _numbers(uri)]


def missing(uri: str) -> list[str]:
    """The numbers that a sequence has no file of, such as `103 to 105`; none of a single file."""
    return gaps(_numbers(uri)) if is_sequence(uri) else []


def refuse_gaps(uri: str) -> None:
    """Raises `ClipFault(FRAME_COUNT)` for a sequence with gaps, naming them."""
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
        raise ClipFault(Reason.URI_REFUSED, f"{uri}: a sequence is addressed by path or s3://")
    found = numbers(uri, storage.listing(uri.rpartition("/")[0] or "."))
    if not found:
        raise ClipFault(Reason.NOT_FOUND, f"no file is named {uri}")
    return found


def source_token(uri: str) -> str:
    """Size and modification mark of a source, file or sequence, without reading it.

    URI_REFUSED for one that leads, also by links, to where no source may lie.
    """
    if not reached(uri):
        raise ClipFault(Reason.URI_REFUSED, f"{uri} leads out of the places that are allowed")
    if not is_sequence(uri):
        stat = storage.stat(uri)
        return f"{stat.size}:{stat.token}"
    digest, size = hashlib.sha256(), 0
    for member in members(uri):
        stat = storage.stat(member)
        size += stat.size
        digest.update(f"{stat.size}:{stat.token}\n".encode())
    return f"{size}:{digest.hexdigest()}"


@contextmanager
def fetched(uri: str, cache: Path) -> Iterator[Path]:
    """A local path with the source's content; of a sequence, its pattern."""
    if not is_sequence(uri):
        with local_copy(uri, cache) as path:
            yield path
        return
    found = members(uri)
    if not storage.is_s3(uri):
        yield storage.local_path(uri)
        return

    def make(folder: Path) -> None:
        part = folder.with_name(folder.name + ".part")
        part.mkdir(exist_ok=True)
        for member in found:
            storage.download(member, part / member.rpartition("/")[2])
        part.rename(folder)

    with held(cache, uri, source_token(uri), make) as folder:
        yield folder / uri.rpartition("/")[2]


def checksum(path: Path, algorithm: str) -> str:
    """The checksum of a local source; of a sequence, that of its files one after another."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for name in members(str(path)) if is_sequence(path) else [str(path)]:
        with Path(name).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
