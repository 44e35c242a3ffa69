"""A seeded simulator of what happens to film, tape and video between the lens and the file.

A preset (`models/damage_presets.py`) names the degradations in the order of the material's life
(optics, film, transfer, codec) and the ranges their parameters are drawn from. Each degradation
has its own random stream, so that adding one leaves the others as they were.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import cv2
import numpy as np

from models.analogue import (
    bandwidth,
    dropouts,
    ghost,
    head_switching,
    hum_bar,
    line_jitter,
    low_resolution,
    tape_noise,
)
from models.damage_presets import PRESETS
from models.defects import blotches, dust, scratches
from models.processes import ar1, correlated_noise, random_walk

CodecName = Literal["h264", "mpeg2video", "mpeg4"]
Codec = Callable[[np.ndarray, CodecName, int], np.ndarray]
Degradation = Callable[..., np.ndarray]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


@dataclass(frozen=True)
class Aged:
    """A damaged clip and the truth about it."""

    frames: np.ndarray  # (T, H, W, 3) uint8
    masks: dict[str, np.ndarray]  # MASKS: (T, H, W) bool, changed pixels
    severity: dict[str, float]  # "grain.strength": 14.2, ...; only what was applied


def blur(clip: np.ndarray, rng: np.random.Generator, sigma_px: float = 0.8) -> np.ndarray:
    """Lens blur whose focus wanders a little."""
    for frame, offset in zip(clip, random_walk(len(clip), 0.02, rng), strict=True):
        sigma = max(sigma_px + offset, 0.1)
        frame[:] = cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return clip


def flicker(
    clip: np.ndarray,
    rng: np.random.Generator,
    gain_sd: float = 0.06,
    gamma_sd: float = 0.06,
    rho: float = 0.3,
) -> np.ndarray:
    """Uneven exposure: a gain and a log-gamma per frame, both AR(1) over time."""
    gains = np.clip(1 + gain_sd * ar1(len(clip), rho, rng), 0.4, 1.6)
    gammas = np.exp(gamma_sd * ar1(len(clip), rho, rng))
    for frame, gain, gamma in zip(clip, gains, gammas, strict=True):
        np.clip(frame, 0, 255, out=frame)
        frame[:] = 255 * gain * (frame / 255) ** np.float32(gamma)
    return clip


def grain(
    clip: np.ndarray,
    rng: np.random.Generator,
    strength: float = 14,
    floor: float = 0.5,
    bell: float = 2,
    sigma_px: float = 0.6,
    chroma: float = 4,
) -> np.ndarray:
    """Film grain: spatially correlated, strength x (floor + bell L(1 - L)) at luma L.

    `strength` and `chroma` (independent per channel) are standard deviations in grey levels.
    """
    light = np.clip(clip @ LUMA / 255, 0, 1)  # (T, H, W)
    noise = correlated_noise(light.shape, sigma_px, rng)
    noise *= strength * (floor + bell * light * (1 - light))
    clip += noise[..., None]
    if chroma > 0:
        for channel in range(3):
            clip[..., channel] += chroma * correlated_noise(light.shape, sigma_px, rng)
    return clip


def white_noise(clip: np.ndarray, rng: np.random.Generator, sigma: float = 25) -> np.ndarray:
    """Additive white Gaussian noise of that many grey levels, independent per channel."""
    clip += np.float32(sigma) * rng.standard_normal(clip.shape, dtype=np.float32)
    return clip


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "flicker": flicker,
    "grain": grain,
    "white_noise": white_noise,
    "scratches": scratches,
    "dust": dust,
    "blotches": blotches,
    "bandwidth": bandwidth,
    "tape_noise": tape_noise,
    "line_jitter": line_jitter,
    "dropouts": dropouts,
    "head_switching": head_switching,
    "ghost": ghost,
    "hum_bar": hum_bar,
    "low_resolution": low_resolution,
}
MASKS = {
    "scratches": "scratch", "dust": "dust", "blotches": "blotch",
    "dropouts": "dropout", "head_switching": "switching",
}  # fmt: skip
CODECS = get_args(CodecName)  # applied by the function the caller passes in


def age(clip: np.ndarray, preset: str, seed: int, codec: Codec | None = None) -> Aged:
    """Damage a clip (T, H, W, 3) uint8; the same seed gives the same bytes.

    `codec(frames, name, quality)` encodes and decodes frames; quality is crf for "h264" and the
    quantiser for "mpeg2video" and "mpeg4". Without it the digital stage is left out.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown damage preset {preset!r}: one of {', '.join(PRESETS)}")
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise ValueError(f"a clip is (T, H, W, 3) uint8, not {clip.shape} {clip.dtype}")
    film = clip.astype(np.float32)
    masks = {name: np.zeros(clip.shape[:3], bool) for name in MASKS.values()}
    severity: dict[str, float] = {}
    for slot in PRESETS[preset]:
        drawn = slot.draw(stream(seed, slot.name))
        if drawn is None or (drawn[0] in CODECS and codec is None):
            continue
        name, params = drawn
        if codec is not None and name in CODECS:
            quality = round(params["quality"])
            film = codec(quantise(film), cast(CodecName, name), quality).astype(np.float32)
        else:
            before = film.copy() if name in MASKS else film
            film = DEGRADATIONS[name](film, stream(seed, name + ".pixels"), **params)
            if name in MASKS:
                masks[MASKS[name]] = changed(before, film)
        severity |= {f"{name}.{key}": float(value) for key, value in params.items()}
    return Aged(quantise(film), masks, severity)


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one degradation; PCG64 gives the same numbers on every machine."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def quantise(clip: np.ndarray) -> np.ndarray:
    """Round and clip a float clip to uint8."""
    return np.asarray(np.clip(np.rint(clip), 0, 255), np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pixels (T, H, W) that moved by at least half a grey level after clipping."""
    moved = np.abs(np.clip(after, 0, 255) - np.clip(before, 0, 255)) > 0.5
    return np.asarray(moved.any(3))
