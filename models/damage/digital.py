"""What files lose: packets, bits of a level, and the fine detail that JPEG drops.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place. Video codecs are not here: they
are passed to the simulator as functions.
"""

import cv2
import numpy as np

from models.damage.processes import ar1

BLOCK_PX = 16  # the macroblock of MPEG-2 and H.264
INTRA_FRAMES = 12  # from one whole picture to the next


def packet_loss(
    clip: np.ndarray, rng: np.random.Generator, share: float = 0.02, leak: float = 0.9
) -> np.ndarray:
    """Rows of blocks that never arrived: in a frame each is lost with the chance `share`, from a
    random block to its end, and the decoder fills in the last frame.

    What was predicted from the hole keeps `leak` of its error per frame, until the next whole
    picture. Errors below a grey level are dropped, so that the damage has an outline.
    """
    count, height, width = clip.shape[:3]
    blocks = -(-width // BLOCK_PX)
    whole = int(rng.integers(INTRA_FRAMES))  # which frames are intra coded
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
    """Levels rounded to 2 ** `bits` of them, without dither: bands in skies and faces."""
    step = 255 / (2 ** round(bits) - 1)
    clip[:] = step * np.rint(np.clip(clip, 0, 255) / step)
    return clip


def jpeg(
    clip: np.ndarray, rng: np.random.Generator, quality: float = 50, wander: float = 4
) -> np.ndarray:
    """Motion JPEG: every frame by itself, its quality (1 to 100) AR(1) around `quality` with the
    deviation `wander`, as rate control makes it.
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
