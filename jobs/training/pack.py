"""A folder of footage made small, to carry it to a machine that trains and has no other way in.

`python -m jobs.training.pack DATA OUT --mib 40` copies the clips and photos of DATA that a bank is
made of. What is too large is cut and scaled down, so that each file has its share of the room.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.training.dataset import media, read_photo
from pipeline.media.rgb import count_frames, read_rgb, write_rgb

CRF = 12  # of a clip that is coded again: the loss is not seen
FRAMES = (96, 48, 24)  # of a clip that is cut: a sequence of every second frame takes 23
SIDES = (540, 360)  # its shorter side at most, pixels
PHOTO_SIDES = (1600, 1200, 800, 600)  # longer side of a photo at most
PHOTO_QUALITY = 92  # of JPEG
FPS = Fraction(25)  # a bank counts frames, not seconds
MIB = 2**20


def pack(data: Path, out: Path, size_bytes: int) -> dict[str, list[str]]:
    """Fill a folder; return the files that were copied, made smaller, and left out.

    Small files come first: they leave more room to the others. Raises ValueError without media.
    """
    clips, photos = media(data)
    files = sorted(clips + photos, key=lambda path: (path.stat().st_size, path))
    if not files:
        raise ValueError(f"no *.mp4, video/*.mp4 or photo/*.jpg in {data}")
    done: dict[str, list[str]] = {"copied": [], "made smaller": [], "left out": []}
    left = size_bytes
    for number, path in enumerate(files):
        name, share = path.relative_to(data).as_posix(), left // (len(files) - number)
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_size <= share:
            shutil.copyfile(path, target)
            how = "copied"
        else:
            make = _clips if path.suffix == ".mp4" else _photos
            fits = any(target.stat().st_size <= share for _ in make(path, target))
            how = "made smaller" if fits else "left out"
        if how == "left out":
            target.unlink()
        else:
            left -= target.stat().st_size
        done[how].append(name)
    return done


def _clips(path: Path, target: Path) -> Iterator[None]:
    """Write the middle of a clip, smaller each time."""
    count = count_frames(path)
    for side in SIDES:
        for frames in FRAMES:
            start = max(count - frames, 0) // 2
            pictures = (_scaled(f, side, min) for f in read_rgb(path, start, start + frames))
            write_rgb(target, pictures, FPS, "yuv420p", CRF)
            yield


def _photos(path: Path, target: Path) -> Iterator[None]:
    """Write a photo, smaller each time."""
    picture = cv2.cvtColor(read_photo(path), cv2.COLOR_RGB2BGR)
    for side in PHOTO_SIDES:
        small = _scaled(picture.astype(np.uint8), side, max)
        cv2.imwrite(str(target), small, [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY])
        yield


def _scaled(picture: NDArray[np.uint8], most: int, which: object) -> NDArray[np.uint8]:
    """A picture whose shorter (``min``) or longer (``max``) side has ``most`` pixels or fewer.

    Both sides are even.
    """
    height, width = picture.shape[:2]
    factor = min(most / (min if which is min else max)(height, width), 1)
    size = [max(round(side * factor / 2) * 2, 2) for side in (width, height)]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def main(arguments: list[str] | None = None) -> int:
    """Pack, and print how many files are in which state."""
    parser = argparse.ArgumentParser(prog="pack", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with video/ and photo/, or with clips")
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--mib", type=float, default=40.0, help="most MiB of all files")
    given = parser.parse_args(arguments)
    try:
        done = pack(given.data, given.out, int(given.mib * MIB))
    except ValueError as error:
        parser.error(str(error))
    files = [given.out / name for how in ("copied", "made smaller") for name in done[how]]
    size_mib = sum(path.stat().st_size for path in files) / MIB
    counts = {how: len(names) for how, names in done.items()}
    sys.stdout.write(json.dumps({"mib": round(size_mib, 2), **counts}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
