"""What tells whether a shot is clean: `python like_clean.py MODEL FRAMES CLIP[@FRAME] ...`.

Prints a row of a table for each clip, of FRAMES frames from FRAME on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from jobs.evaluate.evaluate import is_unsteady, restorer_of
from jobs.evaluate.real.film import Film
from pipeline.detect.like_clean import BUT, CLEAR, Decided, is_like_clean

model, count = sys.argv[1], int(sys.argv[2])
for name in sys.argv[3:]:
    path, _, first = name.partition("@")
    film, start = Film.read(Path(path)), int(first or 0)
    shot = next(shot for shot in film.shots if start in shot)
    frames = film.frames[start : min(start + count, shot.stop)]
    restored = restorer_of(model, 1, None).stream(
        [frame.astype(np.float32) / np.float32(255) for frame in frames],
        deflicker=is_unsteady(np.stack(frames)), first_index=start, grain=1.0,
    )  # fmt: skip
    found = [
        Decided(one.decision, one.why, one.change, frame.index, one.box, one.crowd)
        for frame in restored
        for one in frame.repairs
    ]
    clear = [one for one in found if one.decision == "repair" and one.why in CLEAR]
    suspects = [one for one in found if one.decision == "suspect"]
    apart = [sum(one.is_apart for one in ones) for ones in (clear, suspects)]
    print(
        f"| `{Path(path).stem}@{start}` | {model} | {len(found) - len(suspects)} | {len(clear)} "
        f"| {len(suspects)} | {len(clear) / max(len(suspects) - BUT, 1):.2f} "
        f"| {apart[0]} | {apart[0] / max(len(clear), 1):.2f} | {apart[1]} "
        f"| {apart[0] / max(apart[1], 1):.2f} | {'clean' if is_like_clean(found) else 'damaged'} |",
        flush=True,
    )
