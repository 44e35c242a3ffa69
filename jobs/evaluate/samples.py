"""Samples to evaluate on: one shot of each clean clip, aged by the damage simulator."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.damage.simulator import Aged, age
from pipeline.detect.cuts import ShotDetector
from pipeline.media.rgb import codec_round_trip, read_rgb
from schemas.errors import ArchiveError

Clip = NDArray[np.uint8]  # (T, H, W, 3) RGB
Picture = NDArray[np.uint8]  # (H, W, 3) RGB

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".y4m")
READ_AHEAD = 4  # a shot is searched in this many times the wanted number of frames


@dataclass(frozen=True)
class Options:
    """What is cut out of every clip, and the seed of its damage."""

    frames: int = 24
    seed: int = 0
    max_side: int | None = None  # pixels; larger frames are downscaled to it


@dataclass(frozen=True)
class Sample:
    """A clean clip, the same clip with damage, and where it comes from."""

    clip: str
    preset: str
    start: int  # first frame in the file
    truth: Clip
    aged: Aged


def find_clips(data: Sequence[Path]) -> list[Path]:
    """Return the given files, and the video files of the given folders. Raises ArchiveError."""
    found: list[Path] = []
    for path in data:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
        elif path.is_file():
            found.append(path)
        else:
            raise ArchiveError(f"no such clip or folder: {path}")
    if not found:
        raise ArchiveError("no clips found: name video files, or folders of them")
    return found


def make_sample(path: Path, preset: str, options: Options) -> Sample:
    """Read one clip, downscale it if needed, and age it.

    The same seed and file name give the same bytes.
    """
    start, truth = one_shot(read_rgb(path), options.frames)
    truth = shrunk(truth, options.max_side)
    seed = zlib.crc32(f"{options.seed} {path.name}".encode())
    aged = age(truth, preset, seed, codec_round_trip)
    return Sample(path.stem, preset, start, aged.target, aged)


def one_shot(frames: Iterable[Picture], count: int) -> tuple[int, Clip]:
    """Return the start and the first ``count`` frames of the first shot that is long enough.

    If every shot is shorter, return the longest one.
    """
    held = list(islice(frames, READ_AHEAD * count))
    if not held:
        raise ArchiveError("a clip without a frame cannot be evaluated")
    detector = ShotDetector()
    for frame in held:
        detector.add(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    shots = detector.finish()
    longest = max(shots, key=lambda shot: min(shot.stop - shot.start, count))
    return longest.start, np.stack(held[longest.start : longest.stop][:count])


def shrunk(clip: Clip, max_side: int | None) -> Clip:
    """Return the clip with no side longer than ``max_side`` pixels."""
    side = max(clip.shape[1:3])
    if not max_side or side <= max_side:
        return clip
    size = round(clip.shape[2] * max_side / side), round(clip.shape[1] * max_side / side)
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip])
