"""Pictures that tests draw, and the PSNR between pictures."""

import cv2
import numpy as np

from models.damage.digital import quantise


def texture(rng: np.random.Generator, height: int = 96, width: int = 256) -> np.ndarray:
    """Smooth noise (H, W, 3) float32, RGB in [0.1, 0.9]."""
    noise = rng.random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return 0.1 + 0.8 * (smooth - smooth.min()) / np.ptp(smooth)


def grey(value: float = 128, frames: int = 8, size: int = 128) -> np.ndarray:
    return np.full((frames, size, size, 3), value, np.float32)


def scene(frames: int = 8, height: int = 128, width: int = 160) -> np.ndarray:
    """A moving test scene (T, H, W, 3) uint8: soft shapes, an edge, some texture."""
    rng = np.random.default_rng(7)
    coarse = rng.uniform(20, 235, (12, 20, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (width + frames, height), interpolation=cv2.INTER_CUBIC)
    wide[height // 2 :, width // 3 :] *= 0.6
    wide += cv2.GaussianBlur(rng.normal(0, 12, wide.shape).astype(np.float32), (0, 0), 1.2)
    return quantise(np.stack([wide[:, t : t + width] for t in range(frames)]))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean(np.square(a.astype(np.float32) - b))))
