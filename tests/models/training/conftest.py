"""A small bank of training sequences."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.dataset import prepare


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short sequences of drifting smooth noise with grain, dust and flicker."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("bank")
    clean = np.empty((3, 12, 96, 96, 3), np.uint8)
    for n in range(3):
        wide = cv2.GaussianBlur(rng.random((96, 160, 3)).astype(np.float32), (0, 0), 2.5)
        wide = 40 + 160 * (wide - wide.min()) / np.ptp(wide)
        for i in range(12):
            clean[n, i] = wide[:, 2 * i : 2 * i + 96]
    gains = np.exp(rng.normal(0, 0.05, (3, 12, 1, 1, 1)))
    damaged = np.clip(clean * gains + rng.normal(0, 12, clean.shape), 0, 255)
    mask = np.zeros(clean.shape[:4], np.uint8)
    mask[:, ::3, 40:46, 40:46] = 1
    damaged[mask > 0] = 250
    for name, array in (("clean", clean), ("damaged", damaged.astype(np.uint8)), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    (folder / "index.json").write_text(json.dumps({"sequences": [{"preset": "film"}] * 3}))
    prepare(folder)
    return folder
