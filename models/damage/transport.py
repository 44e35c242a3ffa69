"""Film transport through a gate: weave, jumps and lost frames.

Clips are float32 (T, H, W, 3) in 0..255 and are changed in place; lengths are in pixels.
"""

import cv2
import numpy as np

from models.damage.processes import ar1


def gate_weave(
    clip: np.ndarray,
    rng: np.random.Generator,
    weave_px: float = 0.6,
    rho: float = 0.6,
    turn_deg: float = 0.05,
    jump_px: float = 8,
    jump_chance: float = 0.01,
) -> np.ndarray:
    """The picture shifts across and down and turns, all AR(1) over time, and sometimes jumps.

    `weave_px` and `turn_deg` are standard deviations. A jump goes up or down and settles within a
    few frames. The edges are filled with the mirrored picture.
    """
    count, height, width = clip.shape[:3]
    scale = weave_px, weave_px, turn_deg
    path = np.stack([size * ar1(count, rho, rng) for size in scale], 1)  # right, down, turn
    path[:, 1] += jumps(count, jump_px, jump_chance, rng)
    centre = (width - 1) / 2, (height - 1) / 2
    for frame, (right, down, turn) in zip(clip, path, strict=True):
        matrix = cv2.getRotationMatrix2D(centre, turn, 1)
        matrix[:, 2] += right, down
        frame[:] = cv2.warpAffine(
            frame, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
    return clip


def jumps(count: int, jump_px: float, chance: float, rng: np.random.Generator) -> np.ndarray:
    """Offsets (count,) in pixels: 0, with leaps of +-`jump_px` that halve from frame to frame.

    `chance` is the share of frames with a leap.
    """
    leaps = jump_px * rng.choice((-1, 1), count) * (rng.random(count) < chance)
    offsets = np.zeros(count)
    left = 0.0
    for t, leap in enumerate(leaps):
        left = leap or left / 2
        offsets[t] = left
    return offsets


def lost_frames(
    clip: np.ndarray, rng: np.random.Generator, most: float = 5, black_share: float = 0.4
) -> np.ndarray:
    """A run of one to `most` lost frames: black, or the frame before them held.

    The first frame always stays.
    """
    count = len(clip)
    if count < 2:
        return clip
    length = min(int(rng.integers(1, round(most) + 1)), count - 1)
    first = int(rng.integers(1, count - length + 1))
    clip[first : first + length] = 0 if rng.random() < black_share else clip[first - 1]
    return clip
