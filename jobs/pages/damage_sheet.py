"""The picture `docs/images/damage.jpg`: frames under the damage presets, and their defects.

`python -m jobs.pages.damage_sheet CLIP PICTURE` draws it from a clean clip.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from models.damage.simulator import Codec, age
from pipeline.media.rgb import codec_round_trip, read_rgb

ROWS = (  # preset and seed
    ("film", 1), ("film_train", 3), ("g25", 1), ("tape", 2), ("tape_train", 3), ("broadcast", 1),
    ("web", 1), ("web_train", 5), ("worn", 4), ("worn", 8), ("worn", 11), ("scan", 9), ("scan", 26),
    ("scan", 6),
)  # fmt: skip
DEFECT_COLOURS = {  # RGB
    "lost":    (255, 255, 255), "packet":    (255, 140, 0), "tracking": (255, 0, 255),
    "scratch": (255, 0, 0),     "dust":      (0, 255, 0),   "blotch":   (60, 60, 255),
    "dropout": (255, 255, 0),   "switching": (0, 255, 255), "standing": (150, 75, 0),
}  # fmt: skip
FRAMES = 3  # shown of each preset
PICTURE_WIDTH = 240  # pixels of each frame shown
ROW_LABEL_PX, COLUMN_GAP_PX = 18, 3
MORE_FRAMES = 2  # aged after the last one shown, because some damage spans several frames


def damage_sheet(
    clip: np.ndarray, rows: Sequence[tuple[str, int]] = ROWS, codec: Codec | None = None
) -> np.ndarray:
    """Return a picture with one row per (preset, seed): frames, and the defects of the last one.

    ``clip`` is (T, H, W, 3) uint8 RGB.
    """
    return np.vstack([_row(clip[: FRAMES + MORE_FRAMES], *row, codec) for row in rows])


def _row(clip: np.ndarray, preset: str, seed: int, codec: Codec | None) -> np.ndarray:
    aged = age(clip, preset, seed, codec)
    defects = np.zeros(clip.shape[1:], np.uint8)
    for name, colour in DEFECT_COLOURS.items():
        defects[aged.masks[name][FRAMES - 1]] = colour
    gap = np.full((clip.shape[1], COLUMN_GAP_PX, 3), 255, np.uint8)
    pictures = [*aged.frames[:FRAMES], defects]
    strip = np.hstack([part for picture in pictures for part in (picture, gap)][:-1])
    label = np.full((ROW_LABEL_PX, strip.shape[1], 3), 255, np.uint8)
    text = f"{preset}, seed {seed}"
    cv2.putText(label, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([label, strip])


def main(path: Path, picture: Path) -> None:
    frames = list(islice(read_rgb(path), FRAMES + MORE_FRAMES))
    height = round(PICTURE_WIDTH * frames[0].shape[0] / frames[0].shape[1])
    size = PICTURE_WIDTH, height
    clip = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])
    sheet = damage_sheet(clip, codec=codec_round_trip)
    cv2.imwrite(str(picture), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python -m jobs.pages.damage_sheet CLIP PICTURE: a clean clip, the JPEG to write")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
