"""Allowed places for sources: outside of the output, and below the places of ARCHIVE_RESTORE_ALLOW.

    ARCHIVE_RESTORE_ALLOW="s3://films/ s3://news/reels/ /mnt/archive"

Spaces separate the places. A place allows everything below it: `s3://` allows any bucket, `/` any
path. Without the variable every path and every bucket is allowed. Jobs on a cluster get the
variable as well.
"""

import functools
import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.sources.formats import ManifestFault
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from schemas.errors import ArchiveError

VARIABLE = "ARCHIVE_RESTORE_ALLOW"
_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)?|/.*|file:///.*")


@dataclass(frozen=True)
class Allowed:
    """The places that sources may lie in. None: anywhere."""

    places: tuple[str, ...] | None = None

    def __contains__(self, uri: object) -> bool:
        """Whether a source may lie at an address. Only the text counts: nothing is looked up."""
        if self.places is None:
            return True
        address = _normal(str(uri))
        return any(address == place or address.startswith(_folder(place)) for place in self.places)


ANYWHERE = Allowed()


def allowed() -> Allowed:
    """The configured places. Raises ArchiveError with every place that is not valid."""
    text = os.environ.get(VARIABLE)
    return ANYWHERE if text is None else _allowed(text)


@functools.cache  # a manifest may have a million rows
def _allowed(text: str) -> Allowed:
    places = shlex.split(text)
    wrong = [place for place in places if not _PLACE.fullmatch(place) or ".." in place.split("/")]
    if wrong:
        found = ", ".join(repr(place) for place in wrong)
        raise ArchiveError(f"{VARIABLE}: {found}: give s3://bucket/prefix or an absolute path")
    return Allowed(tuple(_normal(place) for place in places))


def reached(uri: str) -> bool:
    """Whether a source lies in an allowed place. Links are followed on both sides."""
    places = allowed()
    if places.places is None or is_s3(uri):
        return uri in places
    return _real(uri) in Allowed(tuple(_real(place) for place in places.places))


def _normal(uri: str) -> str:
    """An address without `file://`, doubled slashes and `.`."""
    if is_s3(uri):
        return uri
    return posixpath.normpath("/" + str(local_path(uri)).lstrip("/"))


def _folder(place: str) -> str:
    return place if place.endswith("/") else f"{place}/"


class Original(NamedTuple):
    """The addresses of a row of the manifest, absolute."""

    source_uri: str
    reference_uri: str | None = None


URI_COLUMNS = Original._fields


def overlaps(numbered: Iterable[tuple[int, Original]], out: str) -> Iterator[ManifestFault]:
    """Yield a fault for every original that the output would mix with.

    No source and no reference may lie in OUT, at any depth. OUT may not lie below the address of a
    source. OUT may be a folder beside the sources. Links are followed.
    """
    target, folders = _real(out).rstrip("/") + "/", dict[str, str]()
    for number, row in numbered:
        for column in URI_COLUMNS:
            if (uri := getattr(row, column)) is None:
                continue
            place = _real_beside(uri, folders)
            if place.startswith(target):
                sentence = f"lies in the output {out}: choose another output folder"
                yield ManifestFault(number, column, uri, sentence)
            elif target.startswith(place + "/"):
                sentence = f"contains the output {out}: choose another output folder"
                yield ManifestFault(number, column, uri, sentence)


def _real(uri: str) -> str:
    """The address with links followed."""
    return uri if is_s3(uri) else os.path.realpath(local_path(uri))


def _real_beside(uri: str, folders: dict[str, str]) -> str:
    """As `_real`. Each folder is looked up once: the originals of a manifest lie in few."""
    if not uri.startswith("/"):
        return _real(uri)
    folder, _, name = uri.rpartition("/")
    if name in ("", ".", "..") or os.path.islink(uri):
        return _real(uri)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder or "/").rstrip("/")
    return f"{folders[folder]}/{name}"
