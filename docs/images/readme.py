"""Makes docs/images/readme.jpg from the demo: `make demo`, then `.venv/bin/python docs/images/readme.py demo`.

One frame of the clip "bikes" at its own pixels: aged by the simulator, restored, and the truth.
"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pipeline.media.rgb import read_rgb

FRAME, COLUMNS = 24, slice(200, 520)
LINE = 28  # pixels of the label above each picture

demo = Path(sys.argv[1])
PANELS = {
    "Damaged (simulated film damage)": demo / "footage/bikes_aged.mkv",
    "Restored": demo / "restored/clips/bikes/bikes_rst.mkv",
    "The undamaged original": demo / "footage/bikes_truth.mkv",
}
panels = []
for label, path in PANELS.items():
    crop = next(islice(read_rgb(path), FRAME, None))[:, COLUMNS]
    top = np.full((LINE, crop.shape[1], 3), 255, np.uint8)
    cv2.putText(top, label, (4, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    panels += [np.vstack([top, crop]), np.full((LINE + crop.shape[0], 6, 3), 255, np.uint8)]
sheet = np.hstack(panels[:-1])
target = Path(__file__).with_suffix(".jpg")
cv2.imwrite(str(target), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
