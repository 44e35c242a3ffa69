"""Weights as safetensors with their configuration in the header.

Loading runs no code, and the configuration cannot get lost.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.network.unet import RestorationNet
from models.network.weights import pinned, sha256, shipped

__all__ = ["config", "device_default", "load", "pinned", "save", "sha256", "shipped"]
FORMAT = "archive-restore/1"


def save(net: RestorationNet, path: Path, training: dict[str, object]) -> None:
    """Write a network in half precision, the VAE in full, with ``training`` facts in the header."""
    tensors = {
        name: (value if name.startswith("vae.") else value.half()).contiguous()
        for name, value in net.state_dict().items()
    }
    config = {
        "size": net.size,
        "channels": net.channels,
        "severe": net.severe,
        "training": training,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        tensors, path, metadata={"format": FORMAT, "config": json.dumps(config, sort_keys=True)}
    )


def load(path: Path, expected_sha256: str | None = None) -> RestorationNet:
    """A network in float32 and evaluation mode.

    Raises ValueError if the file has another format or hash.
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
    net = RestorationNet(config["size"], config["channels"], config.get("severe", False))
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def config(path: Path) -> dict[str, object]:
    """The configuration in a weights file's header."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads((file.metadata() or {})["config"]))


def device_default() -> torch.device:
    """The GPU if this machine has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpus() -> int:
    """Number of GPUs of this machine that PyTorch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
