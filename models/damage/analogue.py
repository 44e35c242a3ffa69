"""Damage by magnetic tape, its players, aerials and small web videos.

A composite signal is a luma waveform with chroma modulated onto it. Tape narrows both bands, the
player's electronics ring, its mechanics shake lines, and worn oxide drops pieces of lines. The
controls are those of the NTSC/VHS simulators that archivists know (zhuker/ntsc, ntscqt). The models
are plain filters and random processes on luma and colour differences. Clips are float32
(T, H, W, 3) in 0..255 and are changed in place; lengths are in pixels.
"""

import cv2
import numpy as np

from models.damage.processes import ar1, smooth_noise, streaks

TO_YCC = np.array(  # Rec. 601, full range
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
TO_RGB = np.linalg.inv(TO_YCC).astype(np.float32)
LINE_AREA = 288 * 352  # pixels of the frame (CIF) that rates of dropouts refer to


def bandwidth(
    clip: np.ndarray,
    rng: np.random.Generator,
    luma_px: float = 0.9,
    chroma_px: float = 3.5,
    delay_px: float = 1.0,
    ringing: float = 0.5,
) -> np.ndarray:
    """Horizontal low-pass of luma and, with a far lower limit, of chroma, which is also delayed.

    `luma_px` and `chroma_px` are the standard deviations of the kernels. `ringing` is the share of
    the lost high band that the player's sharpening adds again, with its overshoot.
    """
    down = float(rng.choice((0, 0, 0.5, 1)))  # lines: comb filters delay chroma vertically too
    for frame in clip:
        ycc = cv2.transform(frame, TO_YCC)
        luma, chroma = ycc[..., 0], ycc[..., 1:]
        soft = cv2.GaussianBlur(luma, (0, 1), sigmaX=luma_px, sigmaY=0.1)
        softer = cv2.GaussianBlur(soft, (0, 1), sigmaX=2 * luma_px, sigmaY=0.1)
        ycc[..., 0] = soft + ringing * (soft - softer)
        late = np.array([[1, 0, delay_px], [0, 1, down]], np.float32)
        moved = cv2.warpAffine(chroma, late, chroma.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        ycc[..., 1:] = cv2.GaussianBlur(moved, (0, 1), sigmaX=chroma_px, sigmaY=0.1)
        frame[:] = cv2.transform(ycc, TO_RGB)
    return clip


def tape_noise(
    clip: np.ndarray,
    rng: np.random.Generator,
    luma: float = 6,
    chroma: float = 10,
    chroma_px: float = 6,
) -> np.ndarray:
    """Noise of standard deviation `luma` and `chroma` in grey levels.

    Luma has short streaks, colour long ones of about two lines.
    """
    shape = clip.shape[1:3]
    for frame in clip:
        grey = luma * streaks(shape, 0.7, 0, rng)
        colours = [chroma * streaks(shape, chroma_px, 0.8, rng) for _ in range(2)]
        frame[:] += cv2.transform(np.dstack([grey, *colours]), TO_RGB)
    return clip


def line_jitter(
    clip: np.ndarray, rng: np.random.Generator, jitter_px: float = 0.4, wave_px: float = 0.8
) -> np.ndarray:
    """Time-base error: lines start a little early or late, and edges wave slowly down the picture.

    `jitter_px` and `wave_px` are standard deviations.
    """
    height, width = clip.shape[1:3]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height))
    for frame in clip:
        shift = jitter_px * ar1(height, 0.5, rng)
        shift += wave_px * smooth_noise((height,), height / 12, rng)
        where = (columns + shift[:, None]).astype(np.float32)
        frame[:] = cv2.remap(
            frame, where, rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return clip


def dropouts(
    clip: np.ndarray,
    rng: np.random.Generator,
    rate: float = 2,
    length_px: tuple[float, float] = (8, 160),
    repeat_share: float = 0.4,
) -> np.ndarray:
    """Streaks of one to three lines, Poisson(`rate`) per CIF frame.

    They are white or black with some noise, or a copy of the line above, as from a dropout
    compensator.
    """
    height, width = clip.shape[1:3]
    for frame in clip:
        for _ in range(rng.poisson(rate * height * width / LINE_AREA)):
            lines = int(rng.integers(1, 4))
            length = min(int(np.exp(rng.uniform(*np.log(length_px)))), width)
            top = int(rng.integers(1, height - lines))
            left = int(rng.integers(0, width - length + 1))
            hole = frame[top : top + lines, left : left + length]
            if rng.random() < repeat_share:
                hole[:] = frame[top - 1 : top, left : left + length]
                continue
            paint = rng.choice((rng.uniform(200, 255), rng.uniform(0, 50)), p=(0.7, 0.3))
            grit = rng.normal(0, 20, (lines, length, 1)).astype(np.float32)
            tail = np.linspace(1, rng.uniform(0.3, 1), length, dtype=np.float32)[None, :, None]
            hole += tail * (np.clip(paint + grit, 0, 255) - hole)
    return clip


def head_switching(
    clip: np.ndarray, rng: np.random.Generator, lines: float = 6, shear_px: float = 20
) -> np.ndarray:
    """The last lines of every field, shifted sideways and noisy, where the player changes heads."""
    count = max(round(lines), 1)
    depth = np.arange(1, count + 1) / count
    for frame, wander in zip(clip, ar1(len(clip), 0.6, rng), strict=True):
        foot = frame[-count:]
        shifts = shear_px * depth**2 * (1 + 0.2 * wander) + rng.normal(0, 1, count)
        for line, shift in zip(foot, shifts, strict=True):
            line[:] = np.roll(line, round(shift), axis=0)
        foot += rng.normal(0, 14, (*foot.shape[:2], 1)).astype(np.float32) * depth[:, None, None]
    return clip


def ghost(
    clip: np.ndarray, rng: np.random.Generator, delay_px: float = 12, gain: float = 0.1
) -> np.ndarray:
    """An echo in the aerial's signal: the picture again, delayed and weaker, of either sign."""
    sign = float(rng.choice((-1, 1)))
    late = np.array([[1, 0, delay_px], [0, 1, 0]], np.float32)
    for frame in clip:
        echo = cv2.warpAffine(frame, late, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        frame[:] += sign * gain * (echo - 128)
    return clip


def hum_bar(
    clip: np.ndarray, rng: np.random.Generator, strength: float = 8, speed_px: float = 3
) -> np.ndarray:
    """Mains hum: a broad lighter and darker bar that rolls through the picture."""
    height = clip.shape[1]
    start = rng.uniform(0, height)
    for t, frame in enumerate(clip):
        phase = 2 * np.pi * (np.arange(height) + start + speed_px * t) / height
        frame[:] += (strength * np.sin(phase))[:, None, None].astype(np.float32)
    return clip


def low_resolution(
    clip: np.ndarray, rng: np.random.Generator, scale: float = 0.6, sharpen: float = 0.3
) -> np.ndarray:
    """The picture shrunk to `scale` for a small player, enlarged again, and sharpened."""
    height, width = clip.shape[1:3]
    small = max(round(width * scale), 8), max(round(height * scale), 8)
    ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    down, up = ways[int(rng.integers(3))], ways[int(rng.integers(1, 3))]
    for frame in clip:
        large = cv2.resize(
            cv2.resize(frame, small, interpolation=down), (width, height), interpolation=up
        )
        frame[:] = large + sharpen * (large - cv2.GaussianBlur(large, (0, 0), 1.2))
    return clip
