"""Convert fields to frames with FFmpeg's bwdif filter, in the decoding child.

The filter gets the planes that all other code works on, so no pixel format is converted. In every
frame the lines of one field are the source's own, and the other lines are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import av.filter
import numpy as np

from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Planes, Probe
from pipeline.clip.pulldown import Stamped, film_frames
from pipeline.media.planes import Source, extract_planes, planar_format, plane_layout
from schemas.errors import ClipFault
from schemas.reasons import Reason

MODES = {"deinterlace": "send_field", "deinterlace-single": "send_frame"}


def converted(
    frames: Iterable[Stamped], conversion: Conversion | None, probe: Probe
) -> Iterator[Stamped]:
    """The frames after a conversion, with timestamps on its clock. Raises `ClipFault`."""
    if conversion is None:
        yield from frames
    elif conversion.policy == "ivtc":
        yield from film_frames(frames, conversion.order, conversion.phase)
    else:
        yield from _Deinterlacer(conversion, probe).run(frames)


class _Deinterlacer:
    def __init__(self, conversion: Conversion, probe: Probe) -> None:
        self.probe = probe
        layout = plane_layout(probe.pix_fmt, probe.width, probe.height)
        _, components, _ = planar_format(probe.pix_fmt)
        self.source = Source(components, False, layout.shapes, layout.dtype)
        # bwdif counts in half ticks of the source's clock
        self.ticks = 2 if conversion.policy == "deinterlace-single" else 1
        self.graph = av.filter.Graph()
        self.graph.threads = 1
        options = f"mode={MODES[conversion.policy]}:parity={conversion.order}:deint=all"
        source = self.graph.add_buffer(
            width=probe.width,
            height=probe.height,
            format=av.VideoFormat(probe.pix_fmt),
            time_base=probe.time_base,
        )
        sink = self.graph.add("buffersink")
        self.graph.link_nodes(source, self.graph.add("bwdif", options), sink).configure()

    def run(self, frames: Iterable[Stamped]) -> Iterator[Stamped]:
        for pts, planes in frames:
            self.graph.vpush(self._picture(pts, planes))
            yield from self._ready()
        self.graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Iterator[Stamped]:
        while True:
            try:
                picture = self.graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if picture.format.name != self.probe.pix_fmt:  # bwdif does not take it: libav converted
                raise ClipFault(
                    Reason.UNSUPPORTED_FORMAT,
                    f"the deinterlacer does not take {self.probe.pix_fmt}",
                )
            assert picture.pts is not None
            yield picture.pts // self.ticks, tuple(extract_planes(picture, self.source))

    def _picture(self, pts: int, planes: Planes) -> av.VideoFrame:
        picture = av.VideoFrame(self.probe.width, self.probe.height, self.probe.pix_fmt)
        picture.pts, picture.time_base = pts, self.probe.time_base
        for target, plane in zip(picture.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
            rows[:, : plane.nbytes // len(plane)] = plane.view(np.uint8)
        return picture
