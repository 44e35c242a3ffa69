"""Classical filters to compare with: FFmpeg run as a separate process on raw frames through pipes.

The binary is the one of the `imageio-ffmpeg` wheel (the `evaluate` extra). It is a GPL build: it
is called, never linked. A new peer, single filter or chain, is one entry of `PEERS`.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ArchiveError

Clip = NDArray[np.uint8]  # (T, H, W, 3) RGB


@dataclass(frozen=True)
class Peer:
    """A filter or a chain of filters, and the strengths among which it is tuned.

    `{s}` in `filters` stands for the strength. A filter that returns `margin` frames less at each
    end of the clip is given as many copies of the end frames.
    """

    name: str
    filters: str
    strengths: tuple[float, ...]
    margin: int = 0
    single: bool = True  # one filter, not a chain

    def run(self, clip: Clip, strength: float) -> Clip:
        """The clip through the filters; as many frames as went in, or an error."""
        return run_filters(clip, self.filters.format(s=f"{strength:g}"), self.margin)


ATADENOISE = "atadenoise=0a={s}:0b={s}:1a={s}:1b={s}:2a={s}:2b={s}"

# Grids end where the filter's range does, or past the best. The pixel format is the better one of
# gbrp and yuv444p for that filter on the film preset.
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("hqdn3d", "format=yuv444p,hqdn3d={s}", (6, 10, 14, 20, 30)),
        Peer("atadenoise", f"format=gbrp,{ATADENOISE}", (0.1, 0.15, 0.2, 0.25, 0.3)),
        Peer("dctdnoiz", "format=gbrp,dctdnoiz=s={s}", (6, 10, 14, 20, 30)),
        Peer("fftdnoiz", "format=gbrp,fftdnoiz=sigma={s}:prev=1:next=1", (10, 20, 35, 60, 100)),
        Peer("nlmeans", "format=gbrp,nlmeans=s={s}", (4, 6, 8, 11, 15)),
        Peer(
            "atadenoise+nlmeans",
            f"format=gbrp,{ATADENOISE},nlmeans=s=4",
            (0.1, 0.15, 0.2, 0.25),
            single=False,
        ),
        Peer(
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
    """The FFmpeg of the `imageio-ffmpeg` wheel."""
    try:
        wheel = import_module("imageio_ffmpeg")
    except ImportError as error:
        hint = "the classical filters need: pip install 'archive-restore[evaluate]'"
        raise ArchiveError(hint) from error
    return Path(wheel.get_ffmpeg_exe())


@cache
def ffmpeg_version() -> str:
    """The third word of `ffmpeg -version`."""
    answer = subprocess.run([ffmpeg_binary(), "-version"], capture_output=True, check=True)
    return answer.stdout.decode().split()[2]


def run_filters(clip: Clip, filters: str, margin: int = 0) -> Clip:
    """A clip through an FFmpeg filter chain that keeps the size; one thread."""
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
