"""Media in this process: decoders and their children, lossless segments, RGB clips, codec trips."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

import av
import av.filter
import numpy as np
from av._core import library_meta
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.clip.frames import AssemblyReport, CarriedStream, Frame, Probe, StreamHash
from pipeline.clip.scan import SCAN_OF
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.planes import Plane, plane_layout
from pipeline.media.tags import coded_format, describe_picture
from pipeline.media.verify import framemd5, plane_md5, verify_output
from pipeline.store.local import is_full
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

__all__ = [
    "AssemblyReport", "CarriedStream", "Decoder", "Frame", "Limits", "Probe", "SegmentWriter",
    "StreamHash", "assemble", "codec_round_trip", "ffmpeg_licence", "framemd5", "plane_md5",
    "probe_file", "read_rgb", "stream_hashes", "verify_output", "write_rgb",
]  # fmt: skip

RoundTripCodec = Literal["h264", "mpeg2video", "mpeg4"]

# Frame rates MPEG-2 can state; another rate is coded as 25 (constant quantiser: the pictures are
# the same).
MPEG2_RATES = (24, 25, 30, 50, 60)
BLOCK = 16
MAX_SLICES = 256


def ffmpeg_licence() -> tuple[str, str]:
    """Version and licence of the FFmpeg in use, as it states them, with the GPL's parts of it."""
    stated = library_meta["libavcodec"]
    parts = [
        name for name in ("libx264", "libx265") if f"--enable-{name}" in stated["configuration"]
    ]
    more = f", built with {' and '.join(parts)} (GPL)" if parts else ""
    return str(av.ffmpeg_version_info), str(stated["license"]) + more


def read_rgb(
    path: str | Path, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, stop) of a trusted local file as (H, W, 3) uint8 RGB.

    The source's matrix and range are honoured (untagged: BT.601 limited, libswscale's default).
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            if stop is not None and index >= stop:
                return
            if index >= start:
                yield cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))


def write_rgb(
    path: str | Path, frames: Iterable[NDArray[np.uint8]], fps: Fraction, pix_fmt: str = "gbrp"
) -> int:
    """Writes (H, W, 3) uint8 RGB frames losslessly; returns how many.

    FFV1 for `.mkv`, lossless H.264 otherwise. With `pix_fmt="gbrp"` the RGB values come back
    exactly; with a YUV format the planes are lossless and only the conversion rounds.
    """
    ffv1 = Path(path).suffix == ".mkv"
    codec, options = ("ffv1", {"level": "3", "g": "1"}) if ffv1 else ("libx264", {"qp": "0"})
    if pix_fmt == "gbrp":
        codec, pix_fmt = ("ffv1", "bgr0") if ffv1 else ("libx264rgb", "rgb24")
    count = 0
    with av.open(str(path), "w") as container:
        stream = None
        for picture in frames:
            if stream is None:
                stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=options))
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.thread_count = 1
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = count
            container.mux(stream.encode(frame))
            count += 1
        if stream is not None:
            container.mux(stream.encode(None))
    return count


def codec_round_trip(
    frames: NDArray[np.uint8], codec: RoundTripCodec, quality: int, fps: int = 24
) -> NDArray[np.uint8]:
    """(T, H, W, 3) uint8 RGB through a lossy codec and back, in memory, same shape.

    `quality` is the CRF for `h264` and the constant quantiser (1-31) for `mpeg2video` and `mpeg4`.
    Odd sizes are padded to whole blocks by repeating the edge and cut back.
    """
    count, height, width, _ = frames.shape
    padding = ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0))
    padded = np.pad(frames, padding, mode="edge") if height % BLOCK or width % BLOCK else frames
    encoder = _lossy_encoder(codec, quality, padded.shape[2], padded.shape[1], fps)
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_count = 1
    packets = []
    for index, picture in enumerate(padded):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    if len(decoded) != count:
        raise RuntimeError(f"{codec} returned {len(decoded)} of {count} frames")
    result = np.empty_like(frames)
    for index, frame in enumerate(decoded):
        result[index] = frame.to_ndarray(format="rgb24")[:height, :width]
    return result


def _lossy_encoder(
    codec: RoundTripCodec, quality: int, width: int, height: int, fps: int
) -> VideoCodecContext:
    name = "libx264" if codec == "h264" else codec
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    rate = fps if codec != "mpeg2video" or fps in MPEG2_RATES else 25
    encoder.framerate, encoder.time_base = Fraction(rate), Fraction(1, rate)
    encoder.thread_count = 1
    if codec == "h264":
        # macroblock tree is left out: with it x264 gives other bytes from one call to the next
        encoder.options = {"crf": str(quality), "preset": "veryfast", "x264-params": "mbtree=0"}
    else:
        encoder.options = {"qmin": str(quality), "qmax": str(quality), "b": "100M"}
    return encoder


class SegmentWriter:
    """Writes planes losslessly: FFV1 version 3 in Matroska, every frame alone, slices checked.

    The planes are of the probe's `pix_fmt`; colour tags, field order and aspect are set on the
    stream. Segments of one probe share their codec header, so their packets can be joined. `crcs`
    is the CRC-32 of each frame sent. Raises `ClipFault` (`ENCODE_ERROR`, `DISK_FULL`).
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
        """Encodes one frame. Raises ValueError when the planes are not of the format."""
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
        """Ends the file; returns the CRC-32 of each frame sent."""
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
    """What marks pictures with their field order, which FFV1 writes into every slice."""
    order = SCAN_OF[probe.field_order]
    if order not in ("tff", "bff"):
        return None
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=probe.width, height=probe.height,
        format=av.VideoFormat(coded_format(probe.pix_fmt)), time_base=1 / probe.fps,
    )  # fmt: skip
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    return graph


def legal_slices(probe: Probe, wanted: int) -> int:
    """The slices FFV1 takes at this size: `wanted` or fewer, or more where it must."""
    # libavcodec loses samples of sliced 4:1:0 pictures whose size is not a multiple of four.
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
    raise ClipFault(Reason.ENCODE_ERROR, f"FFV1 does not take {size}")


@contextmanager
def encoding(path: Path) -> Iterator[None]:
    """Turns an encoder's or a muxer's error into the clip's."""
    try:
        yield
    except av.FFmpegError as error:
        reason = Reason.DISK_FULL if is_full(error) else Reason.ENCODE_ERROR
        raise ClipFault(reason, f"{path.name}: {error.strerror or error}") from error
