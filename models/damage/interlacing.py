"""Interlacing damage: interlaced capture and its conversions, from a clip of whole pictures.

A frame of interlaced video is two fields, the even and the odd lines, of two instants. Clips are
float32 (T, H, W, 3) in 0..255, one instant per frame, and are changed in place. No function looks
at the picture, so a clip and its masks change in the same way.
"""

from itertools import pairwise

import cv2
import numpy as np


def combing(clip: np.ndarray, rng: np.random.Generator, lag: float = 1) -> np.ndarray:
    """Combing: one field of every frame shows the picture `lag` frames later, `lag` in [0, 1].

    Between two pictures it is their mixture. Which field is later is drawn at random.
    """
    later = int(rng.integers(2))
    for frame, following in pairwise(clip):
        frame[later::2] += np.float32(lag) * (following[later::2] - frame[later::2])
    return clip


def field_blend(clip: np.ndarray, rng: np.random.Generator, weight: float = 0.4) -> np.ndarray:
    """Blended fields after a conversion: every frame contains `weight` of the next one."""
    for frame, following in pairwise(clip):
        frame[:] += np.float32(weight) * (following - frame)
    return clip


def wrong_field_order(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fields in the wrong order: the two instants of every pair are swapped.

    Motion goes two steps forward and one back. Each instant is one field, with the lines between
    interpolated.
    """
    shift = int(rng.integers(2))
    parity = int(rng.integers(2))
    for t in range(shift, len(clip) - 1, 2):
        first, second = clip[t].copy(), clip[t + 1].copy()
        clip[t], clip[t + 1] = one_field(second, 1 - parity), one_field(first, parity)
    return clip


def one_field(frame: np.ndarray, parity: int) -> np.ndarray:
    """A frame (H, W, 3) from its even (0) or odd (1) lines; the others are interpolated."""
    height, width = frame.shape[:2]
    field = frame[parity::2]
    rows = np.clip((np.arange(height, dtype=np.float32) - parity) / 2, 0, len(field) - 1)
    columns, lines = np.meshgrid(np.arange(width, dtype=np.float32), rows)
    return cv2.remap(field, columns, lines, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def telecine(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """3:2 pulldown: four film pictures in five frames, for three, two, three and two fields.

    Two frames of five hold fields of two pictures. The clip's place in the cycle and the first
    field are drawn at random.
    """
    instants = clip.copy()
    start = int(rng.integers(5))
    first = int(rng.integers(2))
    for t, frame in enumerate(clip):
        for field in range(2):
            lines = np.s_[(first + field) % 2 :: 2]
            frame[lines] = instants[pulled_down(t, field, start)][lines]
    return clip


def pulled_down(t: int, field: int, start: int) -> int:
    """The instant in field 0 or 1 of video frame `t`.

    The cycle of five frames began `start` frames before the clip.
    """
    picture = 2 * (2 * (t + start) + field) // 5  # film: four pictures in ten fields
    return max(5 * picture // 4 - start, 0)
