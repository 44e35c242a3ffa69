"""Baselines: classical filters of FFmpeg and OpenCV to compare the model with.

FFmpeg runs as a separate process; raw frames go through pipes. The binary comes with the
`imageio-ffmpeg` wheel (the `evaluate` extra). It is a GPL build, so it is called and never linked.
A new baseline, single filter or chain, is one entry of `BASELINES`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np

from jobs.evaluate.samples import Clip
from schemas.errors import ArchiveError


@dataclass(frozen=True)
class Baseline:
    """A filter or a chain of filters, and the strengths to choose from.

    ``filters`` is an FFmpeg filter chain, in which ``{s}`` stands for the strength, or a function.
    Some filters drop ``margin`` frames at each end of the clip. They get ``margin`` more copies of
    each end frame.
    """

    name: str
    filters: str | Callable[[Clip, float], Clip]
    strengths: tuple[float, ...]
    margin: int = 0
    single: bool = True  # one filter, not a chain

    def run(self, clip: Clip, strength: float) -> Clip:
        """Run the filters on the clip. Raises ArchiveError if the number of frames changes."""
        if callable(self.filters):
            return self.filters(clip, strength)
        return run_filters(clip, self.filters.format(s=f"{strength:g}"), self.margin)


def nlmeans_over_frames(clip: Clip, strength: float) -> Clip:
    """Run OpenCV's non-local means in Lab over each frame and its two neighbours on each side.

    Buades, Coll and Morel, IJCV 2008. The ends of the clip are mirrored.
    """
    frames = [np.ascontiguousarray(f) for f in np.pad(clip[..., ::-1], MIRRORED, mode="reflect")]
    # strength of lightness and of colour; sizes of patch and search window in pixels
    settings = (None, strength, strength, 7, 15)
    cleaned = [
        cv2.fastNlMeansDenoisingColoredMulti(frames, i + 2, 5, *settings) for i in range(len(clip))
    ]
    return np.stack(cleaned)[..., ::-1]


MIRRORED = ((2, 2), (0, 0), (0, 0), (0, 0))
ATADENOISE = "atadenoise=0a={s}:0b={s}:1a={s}:1b={s}:2a={s}:2b={s}"

# A grid ends at the limit of the filter's range, or beyond its best strength. The pixel format is
# the better of gbrp and yuv444p for that filter on the film preset.
BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("hqdn3d", "format=yuv444p,hqdn3d={s}", (6, 10, 14, 20, 30)),
        Baseline("atadenoise", f"format=gbrp,{ATADENOISE}", (0.1, 0.15, 0.2, 0.25, 0.3)),
        Baseline("dctdnoiz", "format=gbrp,dctdnoiz=s={s}", (6, 10, 14, 20, 30)),
        Baseline("fftdnoiz", "format=gbrp,fftdnoiz=sigma={s}:prev=1:next=1", (10, 20, 35, 60, 100)),
        Baseline("nlmeans", "format=gbrp,nlmeans=s={s}", (4, 6, 8, 11, 15)),
        Baseline("opencv-nlmeans", nlmeans_over_frames, (6, 9, 12)),
        Baseline(
            "atadenoise+nlmeans",
            f"format=gbrp,{ATADENOISE},nlmeans=s=4",
            (0.1, 0.15, 0.2, 0.25),
            single=False,
        ),
        Baseline(
            "deflicker+removegrain+atadenoise+nlmeans",
            "format=yuv444p,deflicker=size=10,format=gbrp,removegrain=4:4:4:4,"
            f"{ATADENOISE},nlmeans=s=3",
            (0.1, 0.15, 0.2),
            single=False,
        ),
    )
}


@cache
def ffmpeg_binary() -> Path:
    """Return the FFmpeg of the `imageio-ffmpeg` wheel. Raises ArchiveError if it is missing."""
    try:
        wheel = import_module("imageio_ffmpeg")
    except ImportError as error:
        hint = "the classical filters need: pip install 'archive-restore[evaluate]'"
        raise ArchiveError(hint) from error
    return Path(wheel.get_ffmpeg_exe())


@cache
def ffmpeg_version() -> str:
    """Return the third word of `ffmpeg -version`."""
    answer = subprocess.run([ffmpeg_binary(), "-version"], capture_output=True, check=True)
    return answer.stdout.decode().split()[2]


def run_filters(clip: Clip, filters: str, margin: int = 0) -> Clip:
    """Run an FFmpeg filter chain that keeps the picture size, with one thread."""
    count, height, width, _ = clip.shape
    padded = np.pad(clip, ((margin, margin), (0, 0), (0, 0), (0, 0)), mode="edge")
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    command = [
        *(str(ffmpeg_binary()), "-v", "error", "-nostdin", "-filter_threads", "1"),
        *(*raw, "-s", f"{width}x{height}", "-r", "24", "-i", "pipe:0"),
        *("-vf", filters, "-fps_mode", "passthrough", *raw, "pipe:1"),
    ]
    done = subprocess.run(command, input=padded.tobytes(), capture_output=True, check=False)
    if done.returncode != 0:
        raise ArchiveError(f"ffmpeg refused {filters!r}: {done.stderr.decode(errors='replace')}")
    frames = np.frombuffer(done.stdout, np.uint8)
    if frames.size != clip.size:
        got = frames.size / clip[0].size
        raise ArchiveError(f"{filters!r} returned {got:g} frames of {count}")
    return frames.reshape(clip.shape)
