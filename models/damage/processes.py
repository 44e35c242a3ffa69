"""Random processes for damage: they wander over time or space instead of jumping."""

import cv2
import numpy as np


def ar1(count: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) process (count,) with mean 0, variance 1 and correlation `rho`."""
    steps = rng.standard_normal(count)
    values = np.empty(count)
    state = steps[0]
    for i in range(count):
        if i:
            state = rho * state + np.sqrt(1 - rho * rho) * steps[i]
        values[i] = state
    return values


def random_walk(count: int, step: float, rng: np.random.Generator) -> np.ndarray:
    """Random walk (count,) from 0, with steps of standard deviation `step`."""
    return np.concatenate([[0.0], np.cumsum(step * rng.standard_normal(count - 1))])


def smooth_noise(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise (n,) or (h, w) float32, low-passed by `sigma_px`, with variance about 1."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    plane = noise.reshape(shape[0], -1)
    columns = 1 if len(shape) == 1 else 0  # a vector is blurred along its length only
    smooth = cv2.GaussianBlur(
        plane, (columns, 0), sigmaX=sigma_px, sigmaY=sigma_px, borderType=cv2.BORDER_REFLECT_101
    ).reshape(shape)
    return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-6))


def correlated_noise(
    shape: tuple[int, int, int], sigma_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise (T, H, W) float32 with variance 1, blurred in space and new in every frame."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px <= 0.2:
        return noise
    size = 2 * int(np.ceil(3 * sigma_px)) + 1
    kernel = cv2.getGaussianKernel(size, sigma_px).astype(np.float32)
    kernel /= np.sqrt((kernel**2).sum())  # keeps the variance of white noise
    for frame in noise:
        frame[:] = cv2.sepFilter2D(frame, cv2.CV_32F, kernel, kernel)
    return noise


def streaks(
    shape: tuple[int, int], along_px: float, across_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise (H, W) float32 with variance 1, blurred along and across the lines.

    `along_px` and `across_px` are standard deviations.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    kernels = []
    for sigma in (along_px, across_px):
        kernel = cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma)) + 1, max(sigma, 0.1))
        kernels.append((kernel / np.sqrt((kernel**2).sum())).astype(np.float32))
    return np.asarray(cv2.sepFilter2D(noise, cv2.CV_32F, *kernels))
