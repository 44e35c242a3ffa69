"""Validation of a training: PSNR on a small bank, by damage preset."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.frame_state import number_frames
from models.motion.windows import align_windows
from models.network.sizes import SIZES
from models.network.unet import RestorationNet
from models.training.dataset import DEFECT

EVERY = 3  # frames of a sequence: the second, the fifth and so on are restored

Windows = list[tuple[int, list[int], Tensor, Tensor]]  # sequence, its frames, windows, trust


class Validation:
    """A small bank to validate on. Aligned windows are made once for each kind of flow."""

    def __init__(self, folder: Path) -> None:
        self._clean, self._mask = np.load(folder / "clean.npy"), np.load(folder / "mask.npy")
        self._levelled = np.load(folder / "levelled.npy")
        index = json.loads((folder / "index.json").read_text())
        self._presets = [str(entry["preset"]) for entry in index["sequences"]]
        self._windows: dict[str, Windows] = {}

    def prepare(self, flow: str) -> Windows:
        """The windows by a flow (a preset of models/motion/flow.py)."""
        if flow not in self._windows:
            found = self._windows[flow] = []
            for n, sequence in enumerate(self._levelled):
                frames = number_frames(frame.astype(np.float32) / 255 for frame in sequence)
                wanted = range(1, len(sequence), EVERY)
                aligned = list(align_windows(frames, flow, wanted))
                parts = [frame.window for frame in aligned if frame.window is not None]
                window = torch.stack([part.frames for part in parts])
                trust = torch.stack([part.trust for part in parts])
                found.append((n, [frame.index for frame in aligned], window, trust))
        return self._windows[flow]

    def of(self, net: RestorationNet) -> dict[str, object]:
        """Mean PSNR in dB by preset, and inside the defects."""
        device = next(net.parameters()).device
        errors: dict[str, list[float]] = {}
        inside: list[float] = []
        for n, frames, window, trust in self.prepare(SIZES[net.size].flow):
            given = window.to(device), trust.to(device)
            restored = net.restore(*given, steps=1, kappa=0.0, seed=0).image.permute(0, 2, 3, 1)
            for i, picture in zip(frames, restored.float().cpu().numpy(), strict=True):
                square = np.square(np.clip(picture, 0, 1) * 255 - self._clean[n, i])
                errors.setdefault(self._presets[n], []).append(_psnr(square))
                if (defects := self._mask[n, i] == DEFECT).any():
                    inside.append(_psnr(square[defects]))
        row: dict[str, object] = {
            f"psnr_{name}": round(float(np.mean(values)), 3) for name, values in errors.items()
        }
        return row | {"psnr_in_defects": round(float(np.mean(inside)), 3) if inside else None}


def _psnr(square: NDArray[np.float32]) -> float:
    return 10 * math.log10(255**2 / max(float(square.mean()), 1e-3))
