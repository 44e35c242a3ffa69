"""Compare a copy with the size and the checksum that a store gives of the object."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK_BYTES = 2**20
_ETAG = re.compile("([0-9a-f]{32})(?:-([0-9]+))?")

Head = Mapping[str, Any]  # the answer to a HEAD
Digest = Callable[[BinaryIO, int], bytes]  # of so many bytes of an open file
Part = Callable[[int], Head | None]  # the HEAD of one part of the object; None if it has none


def matches(path: Path, head: Head, part: Part = lambda number: None) -> bool | None:
    """Whether a file has the size and the checksum of the object of this answer to a HEAD.

    None: the size is right, and the store gives no checksum that can be compared. The first counts
    that the store gives of SHA-256, CRC32 and an ETag made of MD5. The checksum of an object that
    came in parts is one of the checksums of its parts; `part` tells their size. CRC64NVME and
    CRC32C need a library of their own.
    """
    size = int(head["ContentLength"])
    if path.stat().st_size != size:
        return False
    for field, digest, over in (
        ("ChecksumSHA256", _sha256, _sha256_of),
        ("ChecksumCRC32", _crc32, _crc32_of),
    ):
        if expected := str(head.get(field, "")):
            text, _, count = expected.partition("-")
            composite = count or head.get("ChecksumType") == "COMPOSITE"
            found = (
                _of_parts(path, size, digest, over, count, part)
                if composite
                else _whole(path, digest)
            )
            return None if found is None else base64.b64encode(found).decode() == text
    etag = _ETAG.fullmatch(str(head["ETag"]).strip('"').lower())
    own_key = head.get("SSECustomerAlgorithm")
    if own_key or "kms" in str(head.get("ServerSideEncryption", "")) or etag is None:
        return None
    text, count = etag[1], etag[2] or ""
    found = _of_parts(path, size, _md5, _md5_of, count, part) if count else _whole(path, _md5)
    return None if found is None else found.hex() == text


def _whole(path: Path, digest: Digest) -> bytes:
    with path.open("rb") as stream:
        return digest(stream, path.stat().st_size)


def _of_parts(
    path: Path, size: int, digest: Digest, over: Callable[[bytes], bytes], count: str, part: Part
) -> bytes | None:
    """The checksum of the checksums of equally long parts; None if the parts are not known."""
    first = part(1)
    number = int(count or (first or {}).get("PartsCount", 0))
    step = int((first or {}).get("ContentLength", 0))
    if not step or number != -(-size // step):
        return None
    last = part(number)
    if last is None or int(last.get("ContentLength", 0)) != size - (number - 1) * step:
        return None
    with path.open("rb") as stream:
        return over(b"".join(digest(stream, step) for _ in range(number)))


def _chunks(stream: BinaryIO, size: int) -> Any:  # noqa: ANN401
    while size > 0 and (chunk := stream.read(min(size, _CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk


def _sha256(stream: BinaryIO, size: int) -> bytes:
    digest = hashlib.sha256()
    for chunk in _chunks(stream, size):
        digest.update(chunk)
    return digest.digest()


def _md5(stream: BinaryIO, size: int) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in _chunks(stream, size):
        digest.update(chunk)
    return digest.digest()


def _crc32(stream: BinaryIO, size: int) -> bytes:
    crc = 0
    for chunk in _chunks(stream, size):
        crc = zlib.crc32(chunk, crc)
    return crc.to_bytes(4, "big")


def _sha256_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _md5_of(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _crc32_of(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")
