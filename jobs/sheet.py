"""A contact sheet of the damage presets, to look at before trusting them."""

import cv2
import numpy as np

from models.damage.simulator import Codec, age

LABEL_PX = 18
GAP_PX = 3
COLOURS = {  # of the defects
    "lost": (255, 255, 255), "packet": (255, 140, 0), "tracking": (255, 0, 255),
    "scratch": (255, 0, 0), "dust": (0, 255, 0), "blotch": (60, 60, 255),
    "dropout": (255, 255, 0), "switching": (0, 255, 255),
}  # fmt: skip


def damage_sheet(
    clip: np.ndarray, rows: list[tuple[str, int]], codec: Codec | None = None, shown: int = 3
) -> np.ndarray:
    """A picture with a row per (preset, seed): `shown` frames and the defects of the last."""
    clip = clip[: shown + 2]
    return np.vstack([_row(clip, preset, seed, codec, shown) for preset, seed in rows])


def _row(clip: np.ndarray, preset: str, seed: int, codec: Codec | None, shown: int) -> np.ndarray:
    aged = age(clip, preset, seed, codec)
    defects = np.zeros(clip.shape[1:], np.uint8)
    for name, colour in COLOURS.items():
        defects[aged.masks[name][shown - 1]] = colour
    tiles = [*aged.frames[:shown], defects]
    gap = np.full((clip.shape[1], GAP_PX, 3), 255, np.uint8)
    strip = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    label = np.full((LABEL_PX, strip.shape[1], 3), 255, np.uint8)
    text = f"{preset}, seed {seed}"
    cv2.putText(label, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([label, strip])
