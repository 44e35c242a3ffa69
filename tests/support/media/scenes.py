"""Generated textured views that pan."""

from __future__ import annotations

import cv2
import numpy as np


def scene(seed: int, frames: int, speed_px: float = 1.0) -> list[np.ndarray]:
    """A textured view that pans, (120, 160) uint8 each."""
    rng = np.random.default_rng(seed)
    world = cv2.GaussianBlur(rng.standard_normal((240, 600)).astype(np.float32), (0, 0), 12)
    world += 0.3 * cv2.GaussianBlur(rng.standard_normal((240, 600)).astype(np.float32), (0, 0), 3)
    world = 128 + 60 * world / world.std()
    starts = [int(20 + speed_px * index) for index in range(frames)]
    return [np.clip(world[60:180, at : at + 160], 0, 255).astype(np.uint8) for at in starts]
