"""Log odds of a defect at the labelled places of real film, before the rules for paths.

Run: python docs/experiments/scripts/odds_at_labels.py FOLDER [WEIGHTS]

FOLDER has the films of the benchmark; WEIGHTS are of `base`, the shipped ones by default. For each
film it prints the share of pairs of a defect and a real thing that the log odds put in order (AUC),
the 90 % quantile of the real things, and the places above some thresholds.
"""

import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from jobs.evaluate.evaluate import is_unsteady
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import Label, load
from models.fidelity.evidence import log_odds
from models.fidelity.regions import Seen
from models.frame_state import number_frames
from models.motion.deflicker import Deflicker
from models.motion.windows import align_windows
from models.network.stage import NetworkStage
from models.restorer import Restorer, limit_threads

CONTEXT = 16  # frames read each side
THRESHOLDS = -0.4, -0.6, -0.8, -1.0, -1.1


def seen_at(film: Film, frame: int, restorer: Restorer) -> dict[int, Seen]:
    """What stands out in a frame and in its neighbours."""
    shot = film.shot(frame)
    wanted = range(max(frame - 1, shot.start), min(frame + 2, shot.stop))
    first, stop = max(frame - CONTEXT, shot.start), min(frame + CONTEXT, shot.stop)
    states = number_frames(
        picture.astype(np.float32) / np.float32(255) for picture in film.frames[first:stop]
    )
    if is_unsteady(np.stack(film.frames[shot.start : shot.stop])):
        states = Deflicker().run(states)
    aligned = align_windows(states, restorer.flow, range(wanted.start - first, wanted.stop - first))
    return {s.index + first: Seen.of(s) for s in NetworkStage(restorer.net, 1).run(aligned)}


def places(film: Film, labels: list[Label], restorer: Restorer) -> Iterator[tuple[Label, float]]:
    """The labels with the log odds of the region that covers most of their box."""
    for frame, here in groupby(sorted(labels, key=lambda one: one.frame), lambda one: one.frame):
        around = seen_at(film, frame, restorer)
        seen = around.pop(frame)
        odds = log_odds(seen.with_neighbours(around.values())) if seen.regions else []
        for label in here:
            x, y, wide, high = label.box
            inside = seen.labels[y : y + high, x : x + wide]
            if inside.any():
                yield label, float(odds[np.bincount(inside[inside > 0]).argmax() - 1])


def main(folder: Path, weights: Path | None) -> None:
    limit_threads(1)
    restorer = Restorer("base", weights=weights)
    for name, own in groupby(sorted(load(), key=lambda one: one.clip), lambda one: one.clip):
        found = list(places(Film.read(folder / name), list(own), restorer))
        defect, real = (
            np.array([odds for label, odds in found if (label.kind == "defect") == wanted])
            for wanted in (True, False)
        )
        print(f"{name}: {len(defect)} defects, {len(real)} real things stand out")
        if len(defect) and len(real):
            ordered = (defect[:, None] > real[None]).mean()
            print(f"  AUC {ordered:.4f}; 90 % of the real ones below {np.quantile(real, 0.9):.2f}")
        for threshold in THRESHOLDS:
            print(f"  {threshold}: {(defect >= threshold).sum()}, {(real >= threshold).sum()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
