"""C2PA manifests (Content Credentials) of published files, written and read with c2pa-python.

MP4 and QuickTime hold their manifest. Matroska and MXF cannot: theirs is a file beside them,
`<file>.c2pa`, which is bound to the file by its SHA-256. Nothing here uses the network: no
timestamp authority is asked, and nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pipeline.proof.signing_key import MISSING, SigningKey
from schemas.errors import ArchiveError

SUFFIX = ".c2pa"
EMBEDDED = {".mp4": "video/mp4", ".mov": "video/quicktime"}
DETACHED = {".mkv": "video/x-matroska", ".mxf": "application/mxf"}
FORMATS = EMBEDDED | DETACHED
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}


class Validation(NamedTuple):
    """What c2pa-python says of a manifest and its file."""

    state: str  # Trusted, Valid, Invalid, or Missing
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether the file and its manifest are as they were signed."""
        return self.state in ("Trusted", "Valid")


def sign_file(path: Path, definition: Mapping[str, Any], key: SigningKey, out: Path) -> None:
    """Sign a file. Writes to `out` the file with its manifest, or the manifest alone.

    MP4 and QuickTime get it inside. Raises ArchiveError if c2pa-python is missing or refuses.
    """
    c2pa, embeds = library(), path.suffix in EMBEDDED
    try:
        info = c2pa.C2paSignerInfo(key.algorithm, key.chain, key.key, None)  # None: no timestamp
        with (
            c2pa.Context.from_dict({"verify": {"verify_trust": False, **_OFFLINE}}) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(json.dumps(definition), context=context) as builder,
            path.open("rb") as source,
        ):
            if embeds:
                with out.open("w+b") as signed:
                    builder.sign(signer, FORMATS[path.suffix], source, signed)
                return
            builder.set_no_embed()
            manifest = builder.sign(signer, FORMATS[path.suffix], source, _Nothing())
            out.write_bytes(manifest)
    except c2pa.C2paError as error:
        raise ArchiveError(f"{path.name} was not signed: {error}") from error


def validated(path: Path, manifest: Path | None = None, anchors: bytes = b"") -> Validation:
    """Validate a file against the manifest inside, or against a detached one, with c2pa-python.

    `anchors`: certificates in PEM. With them, the state is `Trusted` only if the signer's
    certificate leads to one of them. Raises ArchiveError if c2pa-python is missing.
    """
    c2pa = library()
    trust: dict[str, Any] = {"verify": {"verify_trust": bool(anchors), **_OFFLINE}}
    if anchors:
        trust["trust"] = {"user_anchors": anchors.decode("ascii", "replace")}
    detached = manifest.read_bytes() if manifest else None
    try:
        with (
            c2pa.Context.from_dict(trust) as context,
            path.open("rb") as file,
            c2pa.Reader(
                FORMATS[path.suffix], file, manifest_data=detached, context=context
            ) as reader,
        ):
            state = str(reader.get_validation_state() or "Invalid")
            found = (reader.get_validation_results() or {}).get("activeManifest", {})
            problems = tuple(str(one["code"]) for one in found.get("failure", ()))
    except c2pa.C2paError as error:
        missing = isinstance(error, c2pa.C2paError.ManifestNotFound)
        return Validation("Missing" if missing else "Invalid", (str(error),))
    if anchors and state == "Valid":
        return Validation("Invalid", problems or ("signingCredential.untrusted",))
    return Validation(state, problems)


def library() -> ModuleType:
    """The module c2pa. Raises ArchiveError if it is not installed."""
    try:
        import c2pa
    except ImportError as error:
        raise ArchiveError(MISSING) from error
    return c2pa


class _Nothing:
    """Where the copy of the file goes that c2pa-python writes beside a detached manifest."""

    def __init__(self) -> None:
        self._at = self._size = 0

    def read(self, size: int = -1) -> bytes:
        return b""

    def write(self, data: bytes) -> int:
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass
