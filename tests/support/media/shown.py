"""Files that say how their picture is shown: its order, which way up, and mirrored or not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tests.support.media.media_factory import draw_planes, to_frame

WIDTH, HEIGHT, FRAMES = 96, 64, 8
ONE = 1 << 16
TURNS = {
    "mirrored": (-ONE, 0, 0, 0, ONE, 0, WIDTH * ONE, 0, 1 << 30),
    "turned": (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30),
    "turned and mirrored": (0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30),
}


def write_shown(
    path: Path,
    matrix: tuple[int, ...] | None = None,
    sar: Fraction | None = None,
    b_frames: int = 0,
    codec: str = "libx264",
    decoding_order: bool = False,
) -> Path:
    """A file whose frames show their numbers."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        if codec == "libx264":
            stream.codec_context.options = {"x264-params": "b-adapt=0:scenecut=0"}
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        stream.set_display_matrix(matrix)
        packets = []
        for index in range(FRAMES):
            picture = to_frame(draw_planes(index, "yuv420p", WIDTH, HEIGHT), "yuv420p")
            picture.pts = index + 8  # no timestamp is below 0, where it would be cut away
            packets += stream.encode(picture)
        for packet in [*packets, *stream.encode(None)]:
            if decoding_order:
                packet.pts = packet.dts
            container.mux(packet)
    return path
