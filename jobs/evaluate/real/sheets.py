"""Contact sheets for labelling by eye.

`python -m jobs.evaluate.real.sheets FILMS OUT [COUNT [FRAMES]]` writes sheet_NN.png and
candidates.json to OUT. FILMS is a film or a folder of films, COUNT the number of candidates of a
film (120), FRAMES the frames to search, such as 8-43. A candidate shows the previous, this and the
next frame at twice their size with its box, and its number. Write classes.csv beside the sheets
(lines of "number,class"); `labels.py` adds it to labels.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from jobs.console import output
from jobs.evaluate.real.candidates import Candidate, chosen, of_film, runs
from jobs.evaluate.real.film import Film, Picture
from jobs.evaluate.samples import find_clips

PER_FILM = 120
CROP_PX, SCALE = 80, 2  # side of a crop in pixels of the film, and its scale on the sheet
COLUMNS, ROWS = 3, 7
LABEL_PX, GAP_PX = 14, 4
MARK = (255, 60, 60)


def strip(film: Film, one: Candidate, number: int) -> Picture:
    """A candidate's previous, this and next frame, below its number."""
    pictures = [_crop(film.frames[one.frame + side], one) for side in (-1, 0, 1)]
    row = np.hstack(pictures)
    framed = np.full((row.shape[0] + LABEL_PX, row.shape[1] + GAP_PX, 3), 255, np.uint8)
    framed[LABEL_PX:, : row.shape[1]] = row
    x, y, width, height = one.box
    text = f"{number}  frame {one.frame}  {x},{y} {width}x{height}"
    cv2.putText(framed, text, (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def _crop(frame: Picture, one: Candidate) -> Picture:
    """The surroundings of a box, enlarged, with the box marked."""
    x, y, width, height = one.box
    side = max(CROP_PX, int(1.3 * max(width, height)))
    top = min(max(y + height // 2 - side // 2, 0), max(frame.shape[0] - side, 0))
    left = min(max(x + width // 2 - side // 2, 0), max(frame.shape[1] - side, 0))
    part = frame[top : top + side, left : left + side]
    part = np.pad(part, ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)))
    scale = SCALE * CROP_PX / side
    large = cv2.resize(part, (SCALE * CROP_PX,) * 2, interpolation=cv2.INTER_CUBIC)
    corners = ((x - left, y - top), (x - left + width, y - top + height))
    first, last = ((round(scale * a) - 1, round(scale * b) - 1) for a, b in corners)
    cv2.rectangle(large, first, last, MARK, 1)
    return large


def sheet(strips: Sequence[Picture]) -> Picture:
    """Strips in COLUMNS columns."""
    blank = np.full_like(strips[0], 255)
    full = [*strips, *[blank] * (-len(strips) % COLUMNS)]
    rows = [np.hstack(full[at : at + COLUMNS]) for at in range(0, len(full), COLUMNS)]
    return np.vstack(rows)


def write(films: Sequence[Film], found: Sequence[Candidate], out: Path) -> list[Path]:
    """Write the sheets and candidates.json below ``out``; return the files of the sheets."""
    out.mkdir(parents=True, exist_ok=True)
    by_name = {film.name: film for film in films}
    entries = [{"clip": one.clip, "frame": one.frame, "box": one.box} for one in found]
    (out / "candidates.json").write_text(json.dumps(entries), encoding="utf-8")
    files: list[Path] = []
    for clip, numbered in groupby(enumerate(found), key=lambda pair: pair[1].clip):
        strips = [strip(by_name[clip], one, number) for number, one in numbered]
        for at in range(0, len(strips), COLUMNS * ROWS):
            files.append(out / f"sheet_{len(files):02d}.png")
            picture = sheet(strips[at : at + COLUMNS * ROWS])
            cv2.imwrite(str(files[-1]), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return files


def main(films: Path, out: Path, count: int = PER_FILM, frames: range | None = None) -> None:
    found: list[Candidate] = []
    read = [Film.read(path) for path in find_clips([films])]
    for film in read:
        searched = runs(film) if frames is None else [at for at in frames if at < len(film.frames)]
        found += chosen(of_film(film, searched), count)
    files = write(read, found, out)
    output.say(f"{len(found)} candidates on {len(files)} sheets in {out}")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(f"python -m jobs.evaluate.real.sheets FILMS OUT [COUNT [FRAMES]]: {__doc__}")
    first, _, last = sys.argv[4].partition("-") if len(sys.argv) == 5 else ("", "", "")
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]) if len(sys.argv) > 3 else PER_FILM,
        range(int(first), int(last) + 1) if first else None,
    )
