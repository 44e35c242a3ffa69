"""Write restored frames as lossless segments: FFV1 in Matroska."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.filter
import numpy as np
from av._core import library_meta

from pipeline.clip.frames import Plane, Probe
from pipeline.clip.scan import SCAN_OF
from pipeline.media.planes import plane_layout
from pipeline.media.tags import coded_format, describe_picture
from pipeline.store.local import is_full
from schemas.errors import ClipFault
from schemas.reasons import Reason

MAX_SLICES = 256


def ffmpeg_licence() -> tuple[str, str]:
    """Version and licence of the FFmpeg in use, as FFmpeg states them, with its GPL parts."""
    stated = library_meta["libavcodec"]
    parts = [
        name for name in ("libx264", "libx265") if f"--enable-{name}" in stated["configuration"]
    ]
    more = f", built with {' and '.join(parts)} (GPL)" if parts else ""
    return str(av.ffmpeg_version_info), str(stated["license"]) + more


class SegmentWriter:
    """Writes planes losslessly: FFV1 version 3 in Matroska, key frames only, slices with checksums.

    The planes have the probe's `pix_fmt`. The stream states the probe's colour, field order and
    aspect. Segments of one probe share their codec header, so their packets can be joined. `crcs`
    holds the CRC-32 of each frame sent. Raises `ClipFault` (`ENCODE_ERROR`, `DISK_FULL`).
    """

    def __init__(self, path: str | Path, probe: Probe, slices: int, threads: int = 1) -> None:
        self.path, self.probe = Path(path), probe
        self.crcs: list[int] = []
        self._layout = plane_layout(probe.pix_fmt, probe.width, probe.height)
        self._packed_rgb = probe.pix_fmt == "gbrp"
        self._flags = _field_flags(probe)
        options = {
            "level": "3",
            "g": "1",
            "slicecrc": "1",
            "slices": str(legal_slices(probe, slices)),
        }
        with encoding(self.path):
            self._container = av.open(
                str(self.path), "w", format="matroska", container_options={"fflags": "bitexact"}
            )
            self._stream = self._container.add_stream("ffv1", rate=probe.fps, options=options)
            context = self._stream.codec_context
            describe_picture(context, probe)
            context.thread_count = threads

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(av.FFmpegError):
                self._container.close()

    def write(self, planes: Sequence[Plane]) -> None:
        """Encode one frame. Raises ValueError if the planes do not match the format."""
        shapes = tuple(plane.shape for plane in planes)
        if shapes != self._layout.shapes or any(p.dtype != self._layout.dtype for p in planes):
            raise ValueError(f"planes {shapes} are not {self.probe.pix_fmt} {self._layout.shapes}")
        checksum = 0
        for plane in planes:
            checksum = zlib.crc32(np.ascontiguousarray(plane).data, checksum)
        with encoding(self.path):
            self._container.mux(self._stream.encode(self._picture(planes)))
        self.crcs.append(checksum)

    def close(self) -> list[int]:
        """End the file. Returns the CRC-32 of each frame sent."""
        with encoding(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self.crcs

    def _picture(self, planes: Sequence[Plane]) -> av.VideoFrame:
        probe = self.probe
        picture = av.VideoFrame(probe.width, probe.height, coded_format(probe.pix_fmt))
        picture.pts = len(self.crcs)
        if self._packed_rgb:
            green, blue, red = planes
            planes = [np.stack([blue, green, red, np.zeros_like(blue)], axis=-1)]
        for target, plane in zip(picture.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
            rows[:, : plane.nbytes // plane.shape[0]] = plane.reshape(plane.shape[0], -1).view(
                np.uint8
            )
        if self._flags is None:
            return picture
        self._flags.vpush(picture)
        return self._flags.vpull()


def _field_flags(probe: Probe) -> av.filter.Graph | None:
    """A filter that marks pictures with their field order, which FFV1 writes into every slice."""
    order = SCAN_OF[probe.field_order]
    if order not in ("tff", "bff"):
        return None
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=probe.width,
        height=probe.height,
        format=av.VideoFormat(coded_format(probe.pix_fmt)),
        time_base=1 / probe.fps,
    )
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    return graph


def legal_slices(probe: Probe, wanted: int) -> int:
    """The number of slices that FFV1 accepts at this size: `wanted`, else fewer, else more."""
    # libavcodec loses samples of 4:1:0 pictures with slices if the size is no multiple of four.
    most = 1 if probe.pix_fmt == "yuv410p" else wanted
    for slices in chain(range(most, 0, -1), range(most + 1, MAX_SLICES)):
        context = av.CodecContext.create("ffv1", "w")
        describe_picture(context, probe)
        context.options = {"level": "3", "slices": str(slices)}
        try:
            context.open()
        except av.FFmpegError:
            continue
        return slices
    size = f"{probe.width}x{probe.height} {probe.pix_fmt}"
    raise ClipFault(Reason.ENCODE_ERROR, f"FFV1 cannot encode {size}")


@contextmanager
def encoding(path: Path) -> Iterator[None]:
    """Turn an error of an encoder or a muxer into a `ClipFault`."""
    try:
        yield
    except av.FFmpegError as error:
        reason = Reason.DISK_FULL if is_full(error) else Reason.ENCODE_ERROR
        raise ClipFault(reason, f"{path.name}: {error.strerror or error}") from error
