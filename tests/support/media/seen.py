"""The facts of a file as PyAV reads them, without the pipeline, for comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Seen:
    """The facts of a file as PyAV reads them, without the pipeline."""

    md5s: list[str]  # of each frame's planes
    seconds: list[Fraction]
    flagged: list[bool]  # frames that call themselves interlaced
    order: int
    sar: Fraction
    planar: str
    colour: tuple[int, int, int]
    full_range: bool | None
    fps: Fraction
    size: tuple[int, int]
    sounds: list[tuple[str, str, int]]  # codec, SHA-256 of the packets, number of them


# Pixel formats whose samples lie in another order than in the planar format of the same samples.
PACKED = {
    "rgb24": "gbrp", "bgr0": "gbrp", "bgr24": "gbrp", "rgb48be": "gbrp16le", "rgb48le": "gbrp16le",
    "uyvy422": "yuv422p", "yuyv422": "yuv422p", "gray16be": "gray16le", "gbrp10be": "gbrp10le",
    "gbrp12be": "gbrp12le", "gray10be": "gray10le",
}  # fmt: skip


def look(path: Path) -> Seen:
    """Read all facts of a file. Declared values are read before pictures are decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        coded = context.pix_fmt
        planar = PACKED.get(coded, coded.replace("yuvj", "yuv"))
        declared = {
            "order": int(context.field_order),
            "sar": stream.sample_aspect_ratio or Fraction(1),
            "planar": planar,
            "colour": (context.color_primaries, context.color_trc, context.colorspace),
            "full_range": {0: None, 1: False, 2: True}[
                2 if coded.startswith("yuvj") else int(context.color_range)
            ],
            "fps": min(Fraction(r) for r in (stream.average_rate, stream.base_rate) if r),
            "size": (context.width, context.height),
        }
        frames = list(container.decode(stream))
        return Seen(
            md5s=[hashlib.md5(samples(frame, planar)).hexdigest() for frame in frames],
            seconds=[frame.pts * stream.time_base for frame in frames],
            flagged=[bool(frame.interlaced_frame) for frame in frames],
            sounds=sounds(path),
            **declared,
        )


def samples(frame: av.VideoFrame, planar: str) -> bytes:
    """The samples of every plane without padding."""
    if frame.format.name.replace("yuvj", "yuv") != planar:
        frame = frame.reformat(format=planar)
    size = 2 if frame.format.components[0].bits > 8 else 1
    parts = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        parts.append(rows[: plane.height, : plane.width * size].tobytes())
    return b"".join(parts)


def sounds(path: Path) -> list[tuple[str, str, int]]:
    """Codec, hash and number of packets of every sound track."""
    result = []
    with av.open(str(path)) as container:
        for stream in container.streams.audio:
            digest, count = hashlib.sha256(), 0
            for packet in container.demux(stream):
                digest.update(bytes(packet))
                count += packet.size > 0
            container.seek(0)
            result.append((stream.codec_context.name, digest.hexdigest(), count))
    return result
