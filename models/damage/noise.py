"""Noise that is independent from frame to frame: film grain, sensor noise, circuit noise.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place; grey levels go to 255.
"""

import numpy as np

from models.damage.processes import correlated_noise
from models.damage.tone import LUMA_601


def grain(
    clip: np.ndarray,
    rng: np.random.Generator,
    strength: float = 14,
    floor: float = 0.5,
    bell: float = 2,
    sigma_px: float = 0.6,
    chroma: float = 4,
) -> np.ndarray:
    """Film grain: spatially correlated, strength x (floor + bell L(1 - L)) at luma L in [0, 1].

    `strength` and `chroma` (independent per channel) are standard deviations in grey levels.
    """
    light = np.clip(clip @ LUMA_601 / 255, 0, 1)  # (T, H, W)
    noise = correlated_noise(light.shape, sigma_px, rng)
    noise *= strength * (floor + bell * light * (1 - light))
    clip += noise[..., None]
    if chroma > 0:
        for channel in range(3):
            clip[..., channel] += chroma * correlated_noise(light.shape, sigma_px, rng)
    return clip


def white_noise(clip: np.ndarray, rng: np.random.Generator, sigma: float = 25) -> np.ndarray:
    """White Gaussian noise, independent per channel; `sigma` in grey levels."""
    clip += np.float32(sigma) * rng.standard_normal(clip.shape, dtype=np.float32)
    return clip


def shot_noise(clip: np.ndarray, rng: np.random.Generator, photons: float = 300) -> np.ndarray:
    """Photon noise: Poisson with `photons` per channel of a white pixel.

    A level v has the variance 255 v / photons.
    """
    for frame in clip:
        counted = rng.poisson(np.clip(frame, 0, 255) * (photons / 255))
        frame[:] = counted * (255 / photons)
    return clip


def speckle(
    clip: np.ndarray, rng: np.random.Generator, strength: float = 0.1, sigma_px: float = 0.5
) -> np.ndarray:
    """Noise in proportion to the light: the picture times 1 + `strength` x noise.

    The noise is the same in all channels and correlated over `sigma_px`.
    """
    clip *= 1 + np.float32(strength) * correlated_noise(clip.shape[:3], sigma_px, rng)[..., None]
    return clip
