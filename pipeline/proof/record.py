"""The record of a published clip. It proves every file of the clip, and itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.clip.frames import AssemblyReport
from pipeline.clip.survey import Survey
from pipeline.media.profiles import FORMS
from pipeline.proof.statement import statement
from pipeline.store import storage
from pipeline.store.storage import Store
from schemas import strict_json
from schemas.recipe import Recipe

_SEAL = b', "record_sha256": "'
_DERIVED = "|".join(re.escape(form.suffix) for form in FORMS.values())
# Group 1: the stem of the clip's files. Group 3: the kind of a sidecar.
PUBLISHED_NAME = re.compile(
    rf"(.+_rst)(\.mkv(\.(framemd5|sha256|premis\.xml|json|changes\.mkv|residual\.mkv|c2pa))?"
    rf"|({_DERIVED})(\.c2pa)?)"
)


@dataclass(frozen=True)
class Digest:
    """Name, size in bytes and SHA-256 of a file."""

    name: str
    size: int
    sha256: str

    @property
    def line(self) -> bytes:
        """The digest as `sha256sum --check` reads it."""
        return f"{self.sha256}  {self.name}\n".encode()

    @classmethod
    def of(cls, name: str, data: bytes) -> Digest:
        """The digest of a file from its content."""
        return cls(name, len(data), hashlib.sha256(data).hexdigest())


def publish_record(
    store: Store,
    uri: str,
    survey: Survey,
    recipe: Recipe,
    report: AssemblyReport,
    row: Mapping[str, Any],
    files: Mapping[str, Any],
    *,
    put_back: Sequence[Mapping[str, object]] = (),
    first: bool = False,
) -> None:
    """Publish the record of the master at `uri`, which makes its clip published.

    It holds how the master was made, the clip's row, and a digest of every file beside it. Files
    that another recipe published of the clip are deleted first, their record before them. `first`:
    the clip is known to have none. `put_back` is what was put back to the source before publishing.
    """
    record = {
        "work_key": row["work_key"],
        "source_sha256": survey.source_sha256,
        "source_md5": survey.source_md5,
        "source_token": survey.source_token,
        "source_pts": survey.source_pts or survey.pts,
        "time_base": str(survey.probe.time_base),
        "streams": [asdict(stream) for stream in report.streams],
        "tags": dict(report.tags),
        "recipe": recipe.to_dict(),
        "row": row,
        "statement": statement(row, recipe.to_dict()),
        **files,
        "put_back": list(put_back),
        "accepted": survey.accepted,
    }
    folder, _, master = uri.rpartition("/")
    kept = {*record["files"], f"{master}.json"}
    others = () if first else store.listing(folder)
    found = {other: other.rpartition("/")[2] for other in others}
    stale = [u for u, name in found.items() if name not in kept and PUBLISHED_NAME.fullmatch(name)]
    for other in sorted(stale, key=lambda other: not other.endswith(".json")):
        store.delete(other)
    store.write_bytes(f"{uri}.json", sealed(record))


def listed(record: Mapping[str, Any]) -> list[Digest]:
    """The files that a record lists. They lie in the folder of the record."""
    files: Mapping[str, Any] = record.get("files", {})
    return [Digest(Path(name).name, int(f["size"]), str(f["sha256"])) for name, f in files.items()]


def sealed(record: Mapping[str, Any]) -> bytes:
    """The record as JSON. Its last entry is the SHA-256 of all bytes before that entry."""
    body = strict_json.dumps(record, default=str).encode()[:-1]
    return body + _SEAL + _seal(body)


def read_record(uri: str) -> dict[str, Any]:
    """The record beside a master. Raises ClipFault(NOT_FOUND), or ValueError if it was altered."""
    return unsealed(storage.read_bytes(f"{uri}.json"))


def unsealed(data: bytes) -> dict[str, Any]:
    """The record in `data`. Raises ValueError if one byte differs from what `sealed` wrote."""
    body, _, seal = data.rpartition(_SEAL)
    if seal != _seal(body):
        raise ValueError("the SHA-256 at its end does not match its content")
    return dict(json.loads(data))


def _seal(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b'"}'
