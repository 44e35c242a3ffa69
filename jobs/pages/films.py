"""The pictures of `docs/films.md`: one frame of each real film: source, restored, difference x 4.

`python -m jobs.pages.films FOLDER` or `make films`; FOLDER holds the archive films.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from jobs.console import output
from jobs.evaluate.evaluate import is_unsteady
from jobs.report.stills import Still
from pipeline.media.rgb import read_rgb

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
    from models.restorer import CONTEXT, Restorer  # torch: imported only if it is used

    first = max(index - CONTEXT, 0)
    frames = list(islice(read_rgb(film), first, index + CONTEXT + 1))
    place = index - first
    stream = Restorer(size).stream(
        [frame.astype(np.float32) / np.float32(255) for frame in frames],
        deflicker=is_unsteady(np.stack(frames)),
        wanted=range(place, place + 1),
        grain=1.0,
    )
    restored = np.clip(np.rint(255 * next(stream).image), 0, 255).astype(np.uint8)
    return Still(index, frames[place], restored)


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
