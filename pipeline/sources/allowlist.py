"""Where sources may lie: apart from the output, and below the places of ARCHIVE_RESTORE_ALLOW.

    ARCHIVE_RESTORE_ALLOW="s3://films/ s3://news/reels/ /mnt/archive"

Places are apart by spaces. One allows what is below it: `s3://` any bucket, `/` any path. Without
the variable every path and every bucket is allowed. Jobs on a cluster get the variable as well.
"""

import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.clip.clip import Clip
from pipeline.sources.formats import Fault
from pipeline.store import storage
from schemas.errors import ArchiveError

VARIABLE = "ARCHIVE_RESTORE_ALLOW"
URI_COLUMNS = ("source_uri", "reference_uri")
_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)?|/.*|file:///.*")


@dataclass(frozen=True)
class Allowed:
    """The places below which sources may lie; None: anywhere."""

    places: tuple[str, ...] | None = None

    def __contains__(self, uri: object) -> bool:
        """Whether a source may lie at an address, by its text alone: nothing is looked up."""
        if self.places is None:
            return True
        address = _normal(str(uri))
        return any(address == place or address.startswith(_folder(place)) for place in self.places)


def allowed() -> Allowed:
    """The configured places. Raises ArchiveError, naming every one that is none."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return Allowed()
    places = shlex.split(text)
    wrong = [place for place in places if not _PLACE.fullmatch(place) or ".." in place.split("/")]
    if wrong:
        found = ", ".join(repr(place) for place in wrong)
        raise ArchiveError(f"{VARIABLE}: {found}: give s3://bucket/prefix or an absolute path")
    return Allowed(tuple(_normal(place) for place in places))


def reached(uri: str) -> bool:
    """Whether a source lies where it may, links followed on both sides."""
    places = allowed().places
    if places is None or storage.is_s3(uri):
        return uri in Allowed(places)
    return _real(uri) in Allowed(tuple(_real(place) for place in places))


def _normal(uri: str) -> str:
    """An address without what does not count: `file://`, doubled slashes and `.`."""
    if storage.is_s3(uri):
        return uri
    return posixpath.normpath("/" + str(storage.local_path(uri)).lstrip("/"))


def _folder(place: str) -> str:
    return place if place.endswith("/") else f"{place}/"


def overlaps(numbered: Iterable[tuple[int, Clip]], out: str) -> Iterator[Fault]:
    """Yield the originals that the output would come among.

    No source and no reference may lie in OUT, at any depth, and OUT may not lie below the address
    of one. OUT may be a folder of its own beside them. Links are followed.
    """
    target = _real(out).rstrip("/") + "/"
    for number, row in numbered:
        for column in URI_COLUMNS:
            if (uri := getattr(row, column)) is None:
                continue
            place = _real(uri)
            if place.startswith(target):
                sentence = f"lies in the output {out}: originals and results stay apart"
                yield Fault(number, column, uri, sentence)
            elif target.startswith(place + "/"):
                yield Fault(number, column, uri, f"has the output {out} below it")


def _real(uri: str) -> str:
    """Return where an address leads to, links followed."""
    return uri if storage.is_s3(uri) else os.path.realpath(storage.local_path(uri))
