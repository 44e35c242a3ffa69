"""The pictures of `docs/films.md`: one frame of each real film: source, restored, difference x 4.

`python -m jobs.pages.films FOLDER` or `make films`; FOLDER holds the archive films.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from jobs.console import output
from jobs.evaluate.real.benchmark import restore_with_model
from jobs.evaluate.real.film import Film
from jobs.report.stills import Still

SHEETS = Path(__file__).resolve().parents[2] / "docs" / "images" / "films"
FILMS = {  # name of the picture: file of the film, and a frame that is not near a cut
    "robbery": ("rrtn_the_great_train_robbery.mp4", 22),
    "market": ("rrtn_a_trip_down_market_street_before_the_fire.mp4", 30),
    "chaplin": ("moviepy_chaplin.mp4", 60),
    "abomb": ("deepremaster_abomb_blast_effects.mp4", 40),
    "friday": ("mdn_friday_1940.mp4", 60),
    "launch2": ("nasa_launch2.mp4", 12),
    "nasa13013": ("torchcodec_nasa_13013.mp4", 60),
}
JPEG_QUALITY = 88


def sheet(film: Path, index: int, size: str = "base") -> Still:
    """Return frame ``index`` of a film, and the same frame restored with its neighbours."""
    whole = Film.read(film)
    restored = restore_with_model(whole, whole.shot(index), range(index, index + 1), size)
    return Still(index, whole.frames[index], restored[index])


def main(folder: Path) -> None:
    from models.restorer import limit_threads

    limit_threads(1)  # the same pictures for any number of cores
    for name, (file, index) in FILMS.items():
        still = sheet(folder / file, index)
        picture = np.hstack([still.source, still.restored, still.difference])
        bgr = np.ascontiguousarray(picture[..., ::-1])
        cv2.imwrite(str(SHEETS / f"{name}.jpg"), bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        change = np.abs(still.restored.astype(int) - still.source).mean()
        output.say(f"{name}: frame {index}, mean change {change:.2f} code values")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m jobs.pages.films FOLDER: give the folder of the archive films")
    main(Path(sys.argv[1]))
