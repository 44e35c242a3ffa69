"""Weights as safetensors with their configuration in the header: loading runs no code and cannot
lose it.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.network import RestorationNet

FORMAT = "archive-restore/1"


def shipped(size: str) -> Path:
    """The weights file of a model size that is part of the package."""
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
    """The SHA-256 that the shipped weights of a size must have (weights/SHA256SUMS, sha256sum
    format).
    """
    for line in (shipped(size).parent / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        if name == f"{size}.safetensors":
            return digest
    raise ValueError(f"{size}.safetensors has no line in weights/SHA256SUMS")


def save(net: RestorationNet, path: Path, training: dict[str, object]) -> None:
    """Write a network in half precision (the PCA basis in full) with ``training`` facts in the
    header.
    """
    tensors = {
        name: (value if name.startswith("vae.") else value.half()).contiguous()
        for name, value in net.state_dict().items()
    }
    config = {"size": net.size, "channels": net.channels, "training": training}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        tensors, path, metadata={"format": FORMAT, "config": json.dumps(config, sort_keys=True)}
    )


def load(path: Path, expected_sha256: str | None = None) -> RestorationNet:
    """A network in float32, evaluation mode; a file of another format or hash is refused
    (ValueError).
    """
    if expected_sha256 is not None and sha256(path) != expected_sha256:
        raise ValueError(
            f"{path.name} does not have its pinned SHA-256: reinstall the package or re-pin it"
        )
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(f"{path.name} is not an {FORMAT} weights file")
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    config = json.loads(header["config"])
    net = RestorationNet(config["size"], config["channels"])
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def config(path: Path) -> dict[str, object]:
    """The configuration in a weights file's header."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads((file.metadata() or {})["config"]))


def device_default() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpus() -> int:
    """How many GPUs this machine has for PyTorch."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
