"""Damage to colour in composite video, by decoders and by worn tape and heads.

A composite signal is luma plus colour on a subcarrier. A decoder that cannot separate them makes
dots of colour edges and rainbows of fine stripes. Clips are float32 (T, H, W, 3) in 0..255 and are
changed in place; lengths are in pixels.
"""

import cv2
import numpy as np

from models.damage.analogue import TO_RGB, TO_YCC
from models.damage.defects import FAINT
from models.damage.processes import ar1, streaks

NTSC_CYCLES = 227.5 / 858  # subcarrier cycles per pixel: per line / pixels per line (Rec. 601)


def composite(
    clip: np.ndarray,
    rng: np.random.Generator,
    notch: float = 0.8,
    chroma_px: float = 2.5,
    cycles_per_px: float = NTSC_CYCLES,
) -> np.ndarray:
    """Dot crawl and rainbows: colour is modulated onto a subcarrier and demodulated again.

    Coded as NTSC: luma + U sin + V cos, whose phase turns by half a cycle from line to line and
    from frame to frame. The decoder multiplies by the carrier and low-passes by `chroma_px`, so it
    takes fine luma for colour. It subtracts `notch` times this colour from luma.
    """
    height, width = clip.shape[1:3]
    pad = int(np.ceil(4 * chroma_px))  # so that the signal continues beyond the edge
    along = 2 * np.pi * cycles_per_px * np.arange(width + 2 * pad)
    start = rng.uniform(0, 2 * np.pi)
    for t, frame in enumerate(clip):
        phase = (along + start + np.pi * (np.arange(height)[:, None] + t))[..., None]
        carrier = np.concatenate([np.sin(phase), np.cos(phase)], 2).astype(np.float32)
        wide = cv2.copyMakeBorder(frame, 0, 0, pad, pad, cv2.BORDER_REPLICATE)
        ycc = cv2.transform(wide, TO_YCC)
        narrow = cv2.GaussianBlur(ycc[..., 1:], (0, 1), sigmaX=chroma_px, sigmaY=0.1)
        signal = ycc[..., 0] + (narrow * carrier).sum(2)
        mixed = 2 * signal[..., None] * carrier
        chroma = cv2.GaussianBlur(mixed, (0, 1), sigmaX=chroma_px, sigmaY=0.1)
        luma = signal - notch * (chroma * carrier).sum(2)
        frame[:] = cv2.transform(np.dstack([luma, chroma]), TO_RGB)[:, pad:-pad]
    return clip


def colour_bleed(
    clip: np.ndarray, rng: np.random.Generator, right_px: float = 4, down_px: float = 1.5
) -> np.ndarray:
    """Colour that trails off to the right and downwards, as after several copies.

    It falls off exponentially over these lengths. Luma does not move.
    """
    across, down = _trail(right_px), _trail(down_px)
    last = len(across) - 1, len(down) - 1
    for frame in clip:
        ycc = cv2.transform(frame, TO_YCC)
        ycc[..., 1:] = cv2.sepFilter2D(
            ycc[..., 1:], cv2.CV_32F, across, down, anchor=last, borderType=cv2.BORDER_REPLICATE
        )
        frame[:] = cv2.transform(ycc, TO_RGB)
    return clip


def chroma_loss(
    clip: np.ndarray, rng: np.random.Generator, share: float = 0.02, lines: float = 2
) -> np.ndarray:
    """Lines without colour, new in every frame: a `share` of all, in runs of `lines` on average.

    Runs begin and end by a Markov chain down the picture.
    """
    height = clip.shape[1]
    leave = 1 / max(lines, 1)
    enter = min(leave * share / (1 - share), 1)
    for frame in clip:
        lost = np.zeros(height, bool)
        on = rng.random() < share
        chances = rng.random((height,))
        for y, drawn in enumerate(chances):
            lost[y] = on
            on = drawn >= leave if on else drawn < enter
        frame[lost] = (frame[lost] @ TO_YCC[0])[..., None]
    return clip


def noise_bars(
    clip: np.ndarray,
    rng: np.random.Generator,
    bars: float = 1,
    height_share: float = 0.06,
    speed_px: float = 4,
    shear_px: float = 12,
) -> np.ndarray:
    """Mistracking: bands of `height_share` of the picture that move down by `speed_px` per frame.

    They tremble. Inside them colour is lost, lines are shifted sideways, and white streaks cover
    the picture.
    """
    for _ in range(round(bars)):
        _noise_bar(clip, rng, height_share, speed_px, shear_px)
    return clip


def _noise_bar(
    clip: np.ndarray,
    rng: np.random.Generator,
    height_share: float,
    speed_px: float,
    shear_px: float,
) -> None:
    """One band; it leaves the picture at the bottom and returns at the top."""
    count, height, width = clip.shape[:3]
    half = max(height_share * height / 2, 1)
    centres = rng.uniform(0, height) + speed_px * np.arange(count) + ar1(count, 0.7, rng)
    for frame, centre in zip(clip, centres, strict=True):
        away = np.abs((np.arange(height) - centre + height / 2) % height - height / 2)
        rows = np.flatnonzero(away < half)
        depth = 1 - (away[rows] / half) ** 2  # 1 in the middle of the band, 0 at its edges
        shifts = np.rint(shear_px * depth * (1 + 0.3 * ar1(len(rows), 0.8, rng)))
        lines = (frame[rows] @ TO_YCC[0])[..., None].repeat(3, 2)
        for line, shift in zip(lines, shifts, strict=True):
            line[:] = np.roll(line, int(shift), axis=0)
        noise = streaks((len(rows), width), 5, 0, rng)
        cover = np.clip(0.8 * noise - 0.4 + depth[:, None], 0, 1).astype(np.float32)
        cover[cover < FAINT] = 0
        paint = np.clip(170 + 60 * streaks(cover.shape, 2, 0, rng), 0, 255)
        frame[rows] = lines + cover[..., None] * (paint[..., None] - lines)


def _trail(length_px: float) -> np.ndarray:
    """Kernel (n,) float32 with sum 1 that falls off exponentially backwards from its last place."""
    back = np.arange(int(np.ceil(5 * length_px)), -1, -1)
    weights = np.exp(-back / max(length_px, 0.05))
    return np.asarray(weights / weights.sum(), np.float32)
