"""Damage to files: lost packets, fewer bits per level, and detail lost by JPEG.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place. Video codecs are not here: the
simulator gets them as functions.
"""

import cv2
import numpy as np

from models.damage.processes import ar1

BLOCK_PX = 16  # pixels: side of a macroblock of MPEG-2 and H.264
INTRA_FRAMES = 12  # frames from one intra coded picture to the next


def packet_loss(
    clip: np.ndarray, rng: np.random.Generator, share: float = 0.02, leak: float = 0.9
) -> np.ndarray:
    """Lost rows of blocks: the decoder shows the previous frame there.

    In every frame each row is lost with probability `share`, from a random block to its end.
    Prediction from the hole carries the error on: `leak` of it per frame, until the next intra
    coded picture. Errors below one grey level are dropped, so that the damage has an outline.
    """
    count, height, width = clip.shape[:3]
    blocks = -(-width // BLOCK_PX)
    whole = int(rng.integers(INTRA_FRAMES))  # phase of the intra coded frames
    error = np.zeros_like(clip[0])
    for t in range(1, count):
        frame, last = clip[t], clip[t - 1]
        error *= 0 if t % INTRA_FRAMES == whole else np.float32(leak)
        for top in range(0, height, BLOCK_PX):
            lost, block = rng.random() < share, int(rng.integers(blocks))
            if lost:
                hole = np.s_[top : top + BLOCK_PX, block * BLOCK_PX :]
                error[hole] = last[hole] - frame[hole]
        error[np.abs(error) < 1] = 0
        frame += error
    return clip


def bit_depth(clip: np.ndarray, rng: np.random.Generator, bits: float = 6) -> np.ndarray:
    """Levels rounded to 2 ** `bits` values without dither: bands in skies and faces."""
    step = 255 / (2 ** round(bits) - 1)
    clip[:] = step * np.rint(np.clip(clip, 0, 255) / step)
    return clip


def jpeg(
    clip: np.ndarray, rng: np.random.Generator, quality: float = 50, wander: float = 4
) -> np.ndarray:
    """Motion JPEG: every frame coded by itself.

    The quality (1 to 100) is AR(1) around `quality` with standard deviation `wander`, as under rate
    control.
    """
    for frame, offset in zip(clip, ar1(len(clip), 0.8, rng), strict=True):
        level = int(np.clip(round(quality + wander * offset), 1, 100))
        levels = np.ascontiguousarray(quantise(frame)[..., ::-1])  # OpenCV wants BGR
        _, coded = cv2.imencode(".jpg", levels, (cv2.IMWRITE_JPEG_QUALITY, level))
        frame[:] = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    return clip


def quantise(clip: np.ndarray) -> np.ndarray:
    """Round and clip a float clip to uint8."""
    return np.asarray(np.clip(np.rint(clip), 0, 255), np.uint8)
