"""Files that no run can restore, and odd files that it can: one function writes one file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.media.media_factory import H264, Clip, Sound, write_clip
from tests.support.media.shown import ONE, TURNS, write_shown

Write = Callable[[Path], object]
SIZE: dict[str, Any] = {"width": 64, "height": 48, "frames": 8}
PCM = (Sound("pcm_s16le"),)
SOUND = Clip(**SIZE, sounds=PCM)
DEEP = Clip(**SIZE, pix_fmt="yuv422p10le", muxer="matroska")  # also under other extensions
WEB = Clip(**SIZE, **H264)
PNG = Clip(**SIZE, codec="png", pix_fmt="gbrp", coded="rgb24", options={})
ANAMORPHIC = Fraction(4, 3)


def clip(drawn: Clip) -> Write:
    """A clip of the media factory."""
    return lambda path: write_clip(path, drawn)


def as_matroska(path: Path) -> None:
    """Matroska under another extension."""
    drawn = path.with_suffix(".mkv")
    write_clip(drawn, SOUND)
    drawn.rename(path)


def deep(path: Path) -> None:
    """A sound clip."""
    write_clip(path, DEEP)


def nothing(path: Path) -> None:
    """No file at all."""


def content(data: bytes) -> Write:
    """A file of these bytes."""
    return lambda path: path.write_bytes(data)


def half(drawn: Clip) -> Write:
    """The first half of a clip."""

    def write(path: Path) -> None:
        write_clip(path, drawn)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    return write


def flipped(path: Path) -> None:
    """A clip with eight damaged bytes in its fifth picture."""
    write_clip(path, DEEP)
    with av.open(str(path)) as container:
        packet = bytes([p for p in container.demux(video=0) if p.size][4])
    data = bytearray(path.read_bytes())
    at = data.find(packet) + len(packet) // 2
    data[at : at + 8] = bytes(value ^ 0xFF for value in data[at : at + 8])
    path.write_bytes(data)


def mute(path: Path) -> None:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))


def gap(path: Path) -> None:
    """An image sequence without its third file."""
    write_clip(path, PNG)
    Path(str(path) % 3).unlink()


def grows(path: Path) -> None:
    """A transport stream whose pictures become larger in the middle."""
    write_clip(path, WEB)
    whole = path.read_bytes()
    write_clip(path, Clip(width=96, height=64, frames=8, **H264))
    path.write_bytes(whole + path.read_bytes())


def shown(turn: str, sar: Fraction | None = None) -> Write:
    """A clip that is shown turned or mirrored."""
    return lambda path: write_shown(path, TURNS[turn], sar)


def sheared(path: Path) -> None:
    """A clip that is to be shown distorted."""
    write_shown(path, (ONE, ONE // 2, 0, 0, ONE, 0, 0, 0, 1 << 30))


def in_decoding_order(path: Path) -> None:
    """B-frames in AVI, which has timestamps in the order of decoding only."""
    write_shown(path, b_frames=2, decoding_order=True)


def pipe(path: Path) -> None:
    """A named pipe without a writer."""
    os.mkfifo(path)


def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path)


def device(path: Path) -> None:
    """A link to a device without end."""
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    """A socket."""
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


ENCRYPTED = Clip(
    **SIZE,
    **H264,
    mux_options={
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76" * 16,
        "encryption_kid": "a7" * 16,
    },
)
