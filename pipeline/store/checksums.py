"""Whether a file on this machine is the object that an S3 store describes."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MD5 = re.compile("[0-9a-f]{32}")
_CHUNK_BYTES = 2**20


def differs(path: Path, head: Mapping[str, Any]) -> bool:
    """Whether a file has another size or checksum than the object of this answer to a HEAD.

    It compares the first that the store gives of SHA-256, CRC32 and an ETag that is an MD5. It
    cannot compare checksums of parts, and CRC64NVME and CRC32C need a library of their own.
    """
    if path.stat().st_size != int(head["ContentLength"]):
        return True
    whole = head.get("ChecksumType") != "COMPOSITE"
    for field, digits in (("ChecksumSHA256", _sha256), ("ChecksumCRC32", _crc32)):
        expected = str(head.get(field, ""))
        if expected and whole and "-" not in expected:  # the hyphen precedes the number of parts
            return base64.b64encode(digits(path)).decode() != expected
    etag = str(head["ETag"]).strip('"').lower()
    own_key = head.get("SSECustomerAlgorithm")
    if own_key or "kms" in str(head.get("ServerSideEncryption", "")) or not _MD5.fullmatch(etag):
        return False
    return _md5(path).hex() != etag


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _md5(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).digest()


def _crc32(path: Path) -> bytes:
    crc = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc.to_bytes(4, "big")
