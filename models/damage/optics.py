"""Loss of sharpness by a lens, and by resampling its picture.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place; lengths are in pixels.
"""

import cv2
import numpy as np

from models.damage.processes import random_walk

FOCUS_STEP = 0.02  # step of the random walk per frame: pixels of sigma, or radians of direction


def blur(clip: np.ndarray, rng: np.random.Generator, sigma_px: float = 0.8) -> np.ndarray:
    """Lens blur with standard deviation `sigma_px`; the focus wanders a little."""
    for frame, offset in zip(clip, random_walk(len(clip), FOCUS_STEP, rng), strict=True):
        sigma = max(sigma_px + offset, 0.1)
        frame[:] = cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return clip


def directed_blur(
    clip: np.ndarray, rng: np.random.Generator, sigma_px: float = 1.6, ratio: float = 0.4
) -> np.ndarray:
    """Blur that is longer in one direction, as from astigmatism or a shaken camera.

    The standard deviation is `sigma_px` along the direction and `ratio` times that across it. The
    direction wanders from a random start.
    """
    start = rng.uniform(0, np.pi)
    for frame, turn in zip(clip, random_walk(len(clip), FOCUS_STEP, rng), strict=True):
        kernel = directed_kernel(sigma_px, ratio * sigma_px, start + turn)
        frame[:] = cv2.filter2D(frame, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
    return clip


def directed_kernel(along_px: float, across_px: float, angle: float) -> np.ndarray:
    """Gaussian (n, n) float32 with sum 1.

    `along_px` and `across_px` are standard deviations along and across `angle` (radians).
    """
    half = int(np.ceil(3 * max(along_px, across_px)))
    down, right = np.mgrid[-half : half + 1, -half : half + 1]
    along = (right * np.cos(angle) + down * np.sin(angle)) / max(along_px, 0.1)
    across = (down * np.cos(angle) - right * np.sin(angle)) / max(across_px, 0.1)
    kernel = np.exp(-(along**2 + across**2) / 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def sinc_ringing(
    clip: np.ndarray, rng: np.random.Generator, cutoff: float = 0.5, reach_px: float = 10
) -> np.ndarray:
    """Ripples along edges: an ideal low-pass at `cutoff` times the highest frequency.

    Its kernel ends after `reach_px`. A step overshoots by about a tenth (Gibbs) at any cutoff.
    Real-ESRGAN (Wang et al., ICCVW 2021, section 3) degrades with such filters; this one is
    separable.
    """
    half = round(reach_px)
    kernel = np.sinc(cutoff * np.arange(-half, half + 1))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for frame in clip:
        frame[:] = cv2.sepFilter2D(
            frame, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101
        )
    return clip
