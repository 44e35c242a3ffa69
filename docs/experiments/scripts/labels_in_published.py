"""Labelled places in the published files of a run: repaired and harmed, by film.

Run: python docs/experiments/scripts/labels_in_published.py FOLDER OUT

FOLDER has the films of the benchmark. OUT is the output of a run whose clips have the stems of
their files as ids. Unlike `evaluate --real`, this counts what the run put back and left as clean.
"""

import sys
from itertools import groupby
from pathlib import Path

from jobs.evaluate.real.benchmark import measure
from jobs.evaluate.real.film import Film
from jobs.evaluate.real.labels import load
from models.restorer import limit_threads
from pipeline.media.rgb import read_rgb

REPAIRED, HARMED = 0.6, 0.5  # share of how far a place stood out that is gone


def main(folder: Path, out: Path) -> None:
    limit_threads(1)
    total = [0] * 4
    print("| film | repaired | of | harmed | of |\n|---|--:|--:|--:|--:|")
    for clip, own in groupby(sorted(load(), key=lambda label: label.clip), lambda one: one.clip):
        name = Path(clip).stem
        frames = dict(enumerate(read_rgb(out / "clips" / name / f"{name}_rst.mkv")))
        places = measure(Film.read(folder / clip), frames, own)
        defects = [one.gone for one in places if one.label.kind == "defect"]
        real = [one.gone for one in places if one.label.kind == "real"]
        row = [
            sum(gone >= REPAIRED for gone in defects), len(defects),
            sum(gone >= HARMED for gone in real), len(real),
        ]  # fmt: skip
        total = [whole + part for whole, part in zip(total, row, strict=True)]
        print(f"| {name} | {' | '.join(map(str, row))} |", flush=True)
    print(f"| all | {' | '.join(map(str, total))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
