"""Generated pictures, and the PSNR between pictures."""

import cv2
import numpy as np

from models.damage.analogue import TO_RGB
from models.damage.digital import quantise


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def texture(draw: np.random.Generator, height: int = 96, width: int = 256) -> np.ndarray:
    """Smooth noise (H, W, 3) float32, RGB in [0.1, 0.9]."""
    noise = draw.random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return 0.1 + 0.8 * (smooth - smooth.min()) / np.ptp(smooth)


def grey(value: float = 128, frames: int = 8, size: int = 128) -> np.ndarray:
    """A flat clip (T, size, size, 3) float32."""
    return np.full((frames, size, size, 3), value, np.float32)


def scene(frames: int = 8, height: int = 128, width: int = 160) -> np.ndarray:
    """A moving test scene (T, H, W, 3) uint8: soft shapes, an edge, some texture."""
    draw = np.random.default_rng(7)
    coarse = draw.uniform(20, 235, (12, 20, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (width + frames, height), interpolation=cv2.INTER_CUBIC)
    wide[height // 2 :, width // 3 :] *= 0.6
    wide += cv2.GaussianBlur(draw.normal(0, 12, wide.shape).astype(np.float32), (0, 0), 1.2)
    return quantise(np.stack([wide[:, t : t + width] for t in range(frames)]))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean(np.square(a.astype(np.float32) - b))))


def coloured(cb: float = 0, cr: float = 40, frames: int = 2) -> np.ndarray:
    """A flat clip with luma 120 and this colour."""
    return grey(0, frames) + TO_RGB @ np.array([120, cb, cr], np.float32)


def lag_one(values: np.ndarray) -> float:
    """Correlation of the values with those one step earlier."""
    return float(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1])
