"""A folder of footage made small, to carry it to a machine that trains and has no other way in.

`python -m jobs.training.pack DATA OUT --mib 40` copies the clips and photos of DATA that a bank is
made of. What is too large is cut and scaled down, so that each file has its share of the room.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.training.dataset import media, read_photo
from pipeline.media.rgb import count_frames, read_rgb, write_rgb

CRF = 12  # of a clip that is coded again: the loss is not seen
MOST_FRAMES, LEAST_FRAMES = 72, 24  # of a clip that is cut; a sequence takes up to 23
SIDES = (540, 360, 240)  # its shorter side at most, pixels
SPARE = 0.9  # of the frames that fit by the size of the first try
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
            fitted = _cut if path.suffix == ".mp4" else _shrunk
            how = "made smaller" if fitted(path, target, share) else "left out"
        if how == "left out":
            target.unlink()
        else:
            left -= target.stat().st_size
        done[how].append(name)
    return done


def _cut(path: Path, target: Path, size_bytes: int) -> bool:
    """Write the middle of a clip, as long and large as fits; return whether it fits."""
    count = count_frames(path)
    for side in SIDES:
        frames = min(MOST_FRAMES, count)
        while frames >= min(LEAST_FRAMES, count):
            start = (count - frames) // 2
            pictures = (_scaled(f, side, min) for f in read_rgb(path, start, start + frames))
            write_rgb(target, pictures, FPS, "yuv420p", CRF)
            if (size := target.stat().st_size) <= size_bytes:
                return True
            frames = int(SPARE * frames * size_bytes / size)
    return False


def _shrunk(path: Path, target: Path, size_bytes: int) -> bool:
    """Write a photo as large as fits; return whether it fits."""
    picture = cv2.cvtColor(read_photo(path), cv2.COLOR_RGB2BGR).astype(np.uint8)
    for side in PHOTO_SIDES:
        small = _scaled(picture, side, max)
        cv2.imwrite(str(target), small, [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY])
        if target.stat().st_size <= size_bytes:
            return True
    return False


def _scaled(picture: NDArray[np.uint8], most: int, which: object) -> NDArray[np.uint8]:
    """A picture whose shorter (``min``) or longer (``max``) side has ``most`` pixels or fewer.

    Both sides are even.
    """
    height, width = picture.shape[:2]
    factor = min(most / (min if which is min else max)(height, width), 1)
    size = [max(round(side * factor / 2) * 2, 2) for side in (width, height)]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def main(arguments: list[str] | None = None) -> int:
    """Pack, and print how many files were copied or made smaller, and which are left out."""
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
    counts = {how: len(done[how]) for how in ("copied", "made smaller")}
    said = {"mib": round(size_mib, 2), **counts, "left out": done["left out"]}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
