"""A checkpoint as a folder of parts that are small enough to carry, with a list of their SHA-256.

The list is in the format of sha256sum. It is replaced last and at once, so a folder always has the
whole of one checkpoint.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

PART_BYTES = 14 * 2**20
LIST = "SHA256SUMS"


def save(state: dict[str, Any], folder: Path, part_bytes: int = PART_BYTES) -> None:
    """Write a checkpoint in place of the one in the folder, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getbuffer()
    lines = []
    for start in range(0, len(content), part_bytes):
        part = content[start : start + part_bytes]
        digest = hashlib.sha256(part).hexdigest()
        name = f"{start // part_bytes:03d}-{digest[:16]}.part"
        _write(folder / name, part)
        lines.append(f"{digest}  {name}\n")
    _write(folder / "SHA256SUMS.new", "".join(lines).encode())
    (folder / "SHA256SUMS.new").replace(folder / LIST)
    kept = {line.split()[1] for line in lines}
    for path in folder.glob("*.part"):
        if path.name not in kept:
            path.unlink()


def exists(folder: Path) -> bool:
    """Whether the folder has a checkpoint."""
    return (folder / LIST).exists()


def load(folder: Path, device: torch.device) -> dict[str, Any]:
    """The checkpoint in a folder. Raises ValueError if a part is missing or damaged."""
    stream = io.BytesIO()
    for line in (folder / LIST).read_text().splitlines():
        digest, name = line.split()
        path = folder / name
        content = path.read_bytes() if path.exists() else None
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            fault = "is missing" if content is None else "does not have its SHA-256"
            raise ValueError(
                f"the checkpoint in {folder} is damaged: {name} {fault}. Copy the folder again; or "
                "delete it, and the training begins anew"
            )
        stream.write(content)
    stream.seek(0)
    state: dict[str, Any] = torch.load(stream, map_location=device, weights_only=True)
    return state


def _write(path: Path, content: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
