"""Changes of film's light and colour: flicker, fading dyes, colour casts, prints in one tone.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place. Curves clip values to 0..255.
"""

import numpy as np

from models.damage.processes import ar1, random_walk

LUMA_601 = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
MODES = 3  # cosines down and across in the field of flicker
SEPIA = np.array([18, 0, -30], np.float32)  # grey levels from grey at full strength in the midtones
SEPIA -= LUMA_601 @ SEPIA  # toning does not change luma


def flicker(
    clip: np.ndarray,
    rng: np.random.Generator,
    gain_sd: float = 0.06,
    gamma_sd: float = 0.06,
    rho: float = 0.3,
) -> np.ndarray:
    """Uneven exposure: a gain and a log-gamma per frame, both AR(1) over time with `rho`."""
    gains = np.clip(1 + gain_sd * ar1(len(clip), rho, rng), 0.4, 1.6)
    gammas = np.exp(gamma_sd * ar1(len(clip), rho, rng))
    for frame, gain, gamma in zip(clip, gains, gammas, strict=True):
        np.clip(frame, 0, 255, out=frame)
        frame[:] = 255 * gain * (frame / 255) ** np.float32(gamma)
    return clip


def flicker_field(
    clip: np.ndarray, rng: np.random.Generator, gain_sd: float = 0.06, rho: float = 0.5
) -> np.ndarray:
    """Uneven exposure within the frame: a gain of 1 + field.

    `gain_sd` is the standard deviation of the field over places and frames. The field is a sum of
    the eight lowest cosines down and across, each AR(1) over time. Its mean over a frame is 0:
    `flicker` is the change of the whole frame.
    """
    count, height, width = clip.shape[:3]
    down, across = _cosines(height), _cosines(width)
    weights = np.stack([ar1(count, rho, rng) for _ in range(MODES**2 - 1)], 1)
    weights *= gain_sd / np.sqrt(MODES**2 - 1)
    for frame, drawn in zip(clip, weights, strict=True):
        field = down.T @ np.concatenate([[0], drawn]).reshape(MODES, MODES) @ across
        frame[:] *= np.clip(1 + field, 0.3, 1.7)[..., None].astype(np.float32)
    return clip


def fading(
    clip: np.ndarray,
    rng: np.random.Generator,
    cyan: float = 0.35,
    magenta: float = 0.1,
    yellow: float = 0.15,
    fog: float = 10,
    saturation: float = 0.8,
    drift: float = 0.002,
) -> np.ndarray:
    """A colour print whose dyes have lost these shares of their density.

    The shares drift over the frames by a random walk. Density is the negative logarithm of the
    transmitted light. So a lost share is the power 1 - share in the channel that the dye absorbs:
    red for cyan, green for magenta, blue for yellow. `fog` raises black by this many grey levels;
    `saturation` scales the distance from grey.
    """
    lost = [share + random_walk(len(clip), drift, rng) for share in (cyan, magenta, yellow)]
    powers = 1 - np.clip(np.stack(lost, 1), 0, 0.9).astype(np.float32)
    for frame, power in zip(clip, powers, strict=True):
        passed = (np.clip(frame, 0, 255) / 255) ** power
        frame[:] = fog + (255 - fog) * passed
        grey = (frame @ LUMA_601)[..., None]
        frame[:] = grey + saturation * (frame - grey)
    return clip


def colour_cast(
    clip: np.ndarray,
    rng: np.random.Generator,
    gain_sd: float = 0.1,
    offset_sd: float = 6,
    gamma_sd: float = 0.08,
) -> np.ndarray:
    """A transfer with wrong colour balance: a gain, an offset and a log-gamma per channel.

    They are drawn once for the clip; offsets are in grey levels. The gain wanders by 1 %.
    """
    gains = np.clip(1 + gain_sd * rng.standard_normal(3), 0.5, 1.5)
    offsets = offset_sd * rng.standard_normal(3)
    gammas = np.exp(gamma_sd * rng.standard_normal(3))
    for frame, wander in zip(clip, ar1(len(clip), 0.95, rng), strict=True):
        curve = (np.clip(frame, 0, 255) / 255) ** gammas.astype(np.float32)
        frame[:] = offsets + 255 * gains * (1 + 0.01 * wander) * curve
    return clip


def monochrome(clip: np.ndarray, rng: np.random.Generator, sepia: float = 0) -> np.ndarray:
    """A picture in one tone: grey, or brown by `sepia` in [0, 1]. Luma does not change."""
    for frame in clip:
        luma = np.clip(frame @ LUMA_601, 0, 255)[..., None]
        light = luma / 255
        frame[:] = luma + sepia * 4 * light * (1 - light) * SEPIA  # black and white stay
    return clip


def _cosines(size: int) -> np.ndarray:
    """The lowest cosines (MODES, size) with mean square 1: the basis of the DCT."""
    place = np.pi * (np.arange(size) + 0.5) / size
    waves = np.cos(np.arange(MODES)[:, None] * place)
    waves[1:] *= np.sqrt(2)
    return waves
