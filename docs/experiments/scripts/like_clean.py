"""Counts clear repairs and suspects in 24 frames: `python like_clean.py MODEL CLIP[@FRAME] ...`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from jobs.evaluate.evaluate import is_unsteady, restorer_of
from jobs.evaluate.real.film import Film
from pipeline.detect.like_clean import Decided, is_like_clean

FRAMES = 24

for name in sys.argv[2:]:
    path, _, first = name.partition("@")
    film, start = Film.read(Path(path)), int(first or 0)
    shot = next(shot for shot in film.shots if start in shot)
    frames = film.frames[start : min(start + FRAMES, shot.stop)]
    restored = restorer_of(sys.argv[1], 1, None).stream(
        [frame.astype(np.float32) / np.float32(255) for frame in frames],
        deflicker=is_unsteady(np.stack(frames)), first_index=start, grain=1.0,
    )  # fmt: skip
    found = [
        Decided(one.decision, one.why, one.change, frame.index, one.box, one.crowd)
        for frame in restored
        for one in frame.repairs
    ]
    counts = Counter((one.decision, one.why) for one in found)
    clear = counts["repair", "clear"] + counts["repair", "upright"]
    repairs = sum(count for (decision, _), count in counts.items() if decision == "repair")
    suspects = len(found) - repairs
    print(
        f"{Path(path).stem:<50} {sys.argv[1]} {len(frames)} frames: {repairs} repairs, {clear} clear, "
        f"{suspects} suspects, {clear / max(suspects, 1):.3f}, like clean: {is_like_clean(found)}",
        flush=True,
    )  # fmt: skip
