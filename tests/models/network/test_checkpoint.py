"""Weights files: their configuration comes back, and others are refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.network import checkpoint
from models.network.unet import RestorationNet
from tests.support.networks import randomised, window


def test_weights_come_back_with_their_configuration(tmp_path: Path) -> None:
    net, path = randomised(RestorationNet("micro")), tmp_path / "micro.safetensors"
    checkpoint.save(net, path, {"step": 3})
    again = checkpoint.load(path, checkpoint.sha256(path))
    frames, trust = window()
    assert torch.allclose(
        net.restore(frames, trust, 1, 0.0, 0).image,
        again.restore(frames, trust, 1, 0.0, 0).image,
        atol=2e-3,
    )  # half-precision weights
    assert checkpoint.config(path)["training"] == {"step": 3}


def test_foreign_or_changed_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is not an archive-restore"):
        checkpoint.load(path)
    checkpoint.save(RestorationNet("micro"), path, {})
    with pytest.raises(ValueError, match="pinned SHA-256"):
        checkpoint.load(path, "0" * 64)
    with pytest.raises(ValueError, match="no weights are shipped for model size 'huge'"):
        checkpoint.shipped("huge")
