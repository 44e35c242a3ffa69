"""Defects and real things of calibration films, by what is around them: `python apart.py FOLDER`.

FOLDER is what `jobs/evaluate/real/calibration.py` wrote. Swarms, regions on a path and frames with
fewer than two clear defects near are left out. A cell has the defects, then the real things.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

from jobs.evaluate.real.calibration import read
from models.fidelity.decision import SHIPPED as LIMITS

ODDS = (-1.4, -0.8, -0.4, 0.0, 0.4, 1.5, 9.0)
counts = np.zeros((len(ODDS) - 1, 5, 2), int)
for film in read(Path(sys.argv[1]) / "calibration.pickle"):
    if film.kind == "swarm":
        continue
    for at, here in film.facts.items():
        near = [film.facts[beside] for beside in (at - 1, at, at + 1) if beside in film.facts]
        clear = [facts.odds >= LIMITS.clear_from for facts in near]
        straight = [facts.alarms >= LIMITS.path_hint for facts in near]
        if sum((a & b).sum() for a, b in zip(clear, straight, strict=True)) < LIMITS.clear_least:
            continue
        aparts = [
            a & (facts.crowd <= LIMITS.apart_most) for a, facts in zip(clear, near, strict=True)
        ]
        with_apart = any(one.any() for one in aparts)
        calm = sum(one.unlike for one in near) <= LIMITS.apart_per * sum(one.sum() for one in clear)
        apart, free = here.crowd <= LIMITS.apart_most, here.alarms >= LIMITS.path_below
        free &= np.array([one.label not in here.shifted for one in here.regions], bool)
        steps = np.array([here.steps.get(one.label, 0.0) for one in here.regions])
        free &= steps <= LIMITS.structure
        for row, (low, high) in enumerate(itertools.pairwise(ODDS)):
            within = free & (here.odds > low) & (here.odds <= high)
            columns = (apart * (not with_apart), apart * with_apart, ~apart * (not with_apart),
                       ~apart * with_apart, apart * (with_apart and calm))  # fmt: skip
            for column, marks in enumerate(columns):
                for kind, known in enumerate((film.defect[at], film.real[at])):
                    counts[row, column, kind] += (within & marks.astype(bool) & known).sum()
for row, (low, high) in enumerate(itertools.pairwise(ODDS)):
    cells = " | ".join(f"{defects}, {things}" for defects, things in counts[row])
    print(f"| {low} to {high} | {cells} |")
