"""Addresses: a path or a file:// address is a file, s3://bucket/key is an object."""

import re
from pathlib import Path
from urllib.parse import unquote

from schemas.errors import ClipFault
from schemas.reasons import Reason

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_FILE_URI = re.compile(r"^file://(localhost)?(?=/)")


def is_s3(uri: str | Path) -> bool:
    """Whether the address is that of an S3 object."""
    return isinstance(uri, str) and uri.startswith("s3://")


def join(uri: str | Path, *parts: str) -> str:
    """The address of `parts` below `uri`."""
    base = str(uri)
    tail = "/".join(part.strip("/") for part in parts if part.strip("/"))
    return f"{base.rstrip('/')}/{tail}" if tail else base


def local_path(uri: str | Path) -> Path:
    """The path of a local address. Raises `ClipFault(URI_REFUSED)` for another scheme."""
    if isinstance(uri, Path):
        return uri
    scheme, path = _SCHEME.match(uri), _FILE_URI.sub("", uri)
    if "\0" in uri or (scheme and path == uri):
        raise ClipFault(Reason.URI_REFUSED, f"{uri!r} is neither a path nor an s3:// address")
    return Path(unquote(path)) if scheme else Path(uri)


def bucket_and_key(uri: str | Path) -> tuple[str, str]:
    """Bucket and key. Raises `ClipFault(URI_REFUSED)`."""
    bucket, _, key = str(uri)[len("s3://") :].partition("/")
    if not bucket or "@" in bucket or "\0" in key:
        raise ClipFault(Reason.URI_REFUSED, "the address of an object must be s3://bucket/key")
    return bucket, key
