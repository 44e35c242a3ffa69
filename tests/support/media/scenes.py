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


def sharp_scene(seed: int, frames: int) -> list[np.ndarray]:
    """A view of sharp rectangles that pans, (120, 160) uint8 each: it shows no damage."""
    rng = np.random.default_rng(seed)
    world = np.full((120, 160 + frames), 120.0)
    for _ in range(90):
        x, y = rng.integers(0, 150 + frames), rng.integers(0, 112)
        wide, high = rng.integers(8, 40), rng.integers(8, 24)
        world[y : y + high, x : x + wide] = rng.uniform(50, 200)
    world += rng.standard_normal(world.shape)
    return [np.clip(world[:, at : at + 160], 0, 255).astype(np.uint8) for at in range(frames)]
