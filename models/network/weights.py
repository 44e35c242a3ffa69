"""The shipped weights and their hashes, read without PyTorch."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path


def shipped(size: str) -> Path:
    """Path of the weights file in the package for a model size. Raises ValueError if none is."""
    path = Path(str(files("models"))) / "weights" / f"{size}.safetensors"
    if not path.exists():
        names = sorted(p.stem for p in path.parent.glob("*.safetensors"))
        raise ValueError(
            f"no weights are shipped for model size {size!r}; sizes: {', '.join(names) or 'none'}"
        )
    return path


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pinned(size: str) -> str:
    """The SHA-256 that the shipped weights of a size must have.

    It is in weights/SHA256SUMS, in the format of sha256sum. Raises ValueError if it is not.
    """
    for line in (shipped(size).parent / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        if name == f"{size}.safetensors":
            return digest
    raise ValueError(f"{size}.safetensors has no line in weights/SHA256SUMS")
