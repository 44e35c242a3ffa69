"""What is published of a clip: where, and the record that proves all of it, itself included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store import storage

_SEAL = b', "record_sha256": "'


def restored_name(clip: str, words: Sequence[str] = ()) -> str:
    """The name of a clip's restored file; `words` say what it has that its source has not."""
    return f"{'_'.join([clip, *words])}_rst.mkv"


def file_uri(out: str, clip: str, name: str) -> str:
    """Where a file of a clip is published."""
    return storage.join(out, "clips", clip, name)


@dataclass(frozen=True)
class Digest:
    """A file by name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> Digest:
        """The digest of a small file's content."""
        return cls(name, len(data), hashlib.sha256(data).hexdigest())


def listed(record: Mapping[str, Any]) -> list[Digest]:
    """The files that a record names, each in the record's own folder."""
    files: Mapping[str, Any] = record.get("files", {})
    return [Digest(Path(name).name, int(f["size"]), str(f["sha256"])) for name, f in files.items()]


def sealed(record: Mapping[str, Any]) -> bytes:
    """The record as JSON whose last entry is the SHA-256 of all bytes before that entry."""
    body = json.dumps(record, default=str).encode()[:-1]
    return body + _SEAL + _seal(body)


def read_record(uri: str) -> dict[str, Any]:
    """The record beside a restored file. Raises ClipFault (NOT_FOUND), ValueError when altered."""
    return unsealed(storage.read_bytes(f"{uri}.json"))


def unsealed(data: bytes) -> dict[str, Any]:
    """The record in `data`. Raises ValueError when one byte is not as `sealed` wrote it."""
    body, _, seal = data.rpartition(_SEAL)
    if seal != _seal(body):
        raise ValueError("the SHA-256 it ends with is not its own")
    return dict(json.loads(data))


def _seal(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b'"}'
