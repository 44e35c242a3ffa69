"""Trusted media as pictures, in this process: read, write, and a round trip through a codec.

Damage simulation, the demo, the evaluation and the films of the report use it. Untrusted media goes
to `decoder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

RoundTripCodec = Literal["h264", "mpeg2video", "mpeg4"]

# Frame rates that MPEG-2 can state. Another rate is coded as 25: with a constant quantiser the
# pictures are the same.
MPEG2_RATES = (24, 25, 30, 50, 60)
BLOCK = 16  # pictures are padded to a multiple of this
VIEW_KEY_FRAMES = 12
# VP8 takes a third less time than VP9. `crf` asks for a quality, `b` is the most bits a second.
VIEW_OPTIONS = {
    "deadline": "realtime", "cpu-used": "12", "crf": "16", "b": "5M", "lag-in-frames": "0",
    "g": str(VIEW_KEY_FRAMES),
}  # fmt: skip


def read_rgb(
    path: str | Path, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, stop) of a trusted local file as (H, W, 3) uint8 RGB.

    The matrix and the range of the file are used (untagged: BT.601 limited, libswscale's default).
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            if stop is not None and index >= stop:
                return
            if index >= start:
                yield cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))


def count_frames(path: str | Path) -> int:
    """The frames of a trusted local file, counted by its packets. None is decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(packet.size > 0 for packet in container.demux(stream))


def read_planes(path: str | Path, threads: int = 1) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    """The planes of every frame of a trusted local file of 8 bits, (h, w) each."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        for frame in container.decode(stream):
            rows = [np.frombuffer(memoryview(plane), np.uint8) for plane in frame.planes]
            yield tuple(
                row.reshape(plane.height, plane.line_size)[:, : plane.width].copy()
                for row, plane in zip(rows, frame.planes, strict=True)
            )


def write_rgb(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: Fraction,
    pix_fmt: str = "gbrp",
    crf: int = 0,
) -> int:
    """Write (H, W, 3) uint8 RGB frames losslessly. Returns the number of frames.

    With a YUV format H.264 can have a `crf` above 0, and loses something then.

    FFV1 for `.mkv`, otherwise lossless H.264. With `pix_fmt="gbrp"` the RGB values come back
    exactly. With a YUV format the planes are lossless, and only the conversion rounds.
    """
    ffv1 = Path(path).suffix == ".mkv"
    lossy = {"crf": str(crf), "preset": "veryfast"} if crf else {"qp": "0"}
    codec, options = ("ffv1", {"level": "3", "g": "1"}) if ffv1 else ("libx264", lossy)
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
    """Encode (T, H, W, 3) uint8 RGB with a lossy codec and decode it, in memory. Same shape.

    `quality` is the CRF for `h264` and the constant quantiser (1 to 31) for `mpeg2video` and
    `mpeg4`. Other sizes are padded to whole blocks with repeated edges, and cropped afterwards.
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
        # No macroblock tree: with it, x264 gives different bytes from call to call.
        encoder.options = {"crf": str(quality), "preset": "veryfast", "x264-params": "mbtree=0"}
    else:
        encoder.options = {"qmin": str(quality), "qmax": str(quality), "b": "100M"}
    return encoder


class ViewWriter:
    """Writes a small film that browsers play: VP8 in WebM, 4:2:0 with 8 bits, a fixed rate.

    Every `VIEW_KEY_FRAMES`-th frame is a key frame, so a player steps and jumps quickly.
    """

    def __init__(self, path: Path, width: int, height: int, fps: Fraction) -> None:
        """`width` and `height` are even."""
        self.path, self.frames = path, 0
        self._container = av.open(str(path), "w", format="webm")
        self._stream = self._container.add_stream("libvpx", rate=fps, options=VIEW_OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.thread_count = 1
        context.color_range, context.colorspace = 1, 6  # limited, BT.601

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Add a frame: I420 planes below each other, (3 H / 2, W) uint8, BT.601 limited."""
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = self.frames
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """End the file."""
        if self.frames:
            self._container.mux(self._stream.encode(None))
        self._container.close()
