"""Open an untrusted file in a child process, and read what it declares."""

from __future__ import annotations

import io
import math
import re
import struct
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from typing import Any, cast

import av
import av.filter
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.clip.frames import FIELD_ORDERS, UNIT, Probe
from pipeline.media.formats import CODECS, FORMATS, VIDEO_CODECS
from pipeline.media.planes import planar_format, plane_layout
from pipeline.sources.sequence import is_sequence, runs_of
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

Logs = list[tuple[int, str, str]]
MAX_STREAMS = 64
LOOKAHEAD = 64  # packets that show whether a file states the order of presentation


def open_source(path: str, limits: Limits, number: int | None = None) -> InputContainer:
    """Open a local file with closed lists of containers, codecs and protocols, and size limits.

    An image sequence is opened at the file with this number (None: at its first). Raises
    `ClipFault` if the file is not a readable film file.
    """
    form = "image2" if is_sequence(path) else None
    options = {
        "format_whitelist": FORMATS if form is None else form,
        "codec_whitelist": CODECS,
        "protocol_whitelist": "file",
        "max_pixels": str(limits.max_pixels),
        "probesize": str(20 << 20),
        "analyzeduration": "10000000",
        "max_streams": str(MAX_STREAMS + 1),
        "threads": "1",
    }
    if form is not None:
        first = runs_of(path)[0].start if number is None else number
        options |= {"pattern_type": "sequence", "start_number": str(first)}
    logs: Logs = []
    try:
        with av.logging.Capture(local=False) as logs:
            container = av.open(
                path, "r", format=form, options=options, metadata_errors="surrogateescape"
            )
    except (av.PermissionError, av.FileNotFoundError) as error:  # it was there for the parent
        gone = isinstance(error, av.FileNotFoundError)
        reason = Reason.NOT_FOUND if gone else Reason.ACCESS_DENIED
        sentence = f"cannot be opened: {error.strerror}; was it replaced just now?"
        raise ClipFault(reason, sentence) from None
    except av.FFmpegError as error:
        said = "; ".join(dict.fromkeys(text.strip() for _, _, text in logs)) or str(error.strerror)
        if "moov atom not found" in said or "ended prematurely" in said:
            raise ClipFault(Reason.TRUNCATED, f"the file ends early: {said[:300]}") from None
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, f"cannot be opened: {said[:300]}") from None
    for _, _, text in logs:
        # libav reports an illegal size while probing and then forgets the size.
        if match := re.search(r"icture size (\d+)x(\d+)", text):
            check_size(int(match.group(1)), int(match.group(2)), limits)
    if len(container.streams) > MAX_STREAMS:
        raise ClipFault(
            Reason.UNSUPPORTED_FORMAT, f"the file has more than {MAX_STREAMS} streams, the limit"
        )
    return container


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises `ClipFault(MEDIA_BOMB)` if a picture is above the limit."""
    pixels = width * height
    if pixels > limits.max_pixels:
        raise ClipFault(
            Reason.MEDIA_BOMB,
            f"a picture of {width}x{height} = {pixels} pixels, max_pixels is {limits.max_pixels}",
        )


def main_video(container: InputContainer) -> VideoStream:
    """The first video stream that is not a cover picture. Raises `ClipFault(NO_VIDEO)`."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise ClipFault(Reason.NO_VIDEO, "the file holds no video stream")


def probe_container(container: InputContainer, stream: VideoStream, limits: Limits) -> Probe:
    """What the file declares. Raises `ClipFault` for an unsupported size, codec or pixel format."""
    context = stream.codec_context
    if context is None or context.name not in VIDEO_CODECS:
        name = getattr(context, "name", "unknown")
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, f"video codec {name} is not supported")
    check_size(context.width, context.height, limits)
    if context.width * context.height == 0 or context.pix_fmt is None:
        with suppress(av.FFmpegError):
            refuse_encrypted(next(container.demux(stream), None))
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, f"{context.name} without picture size or format")
    _check_sound(container)
    planar, _, _ = planar_format(context.pix_fmt)
    fps = _frame_rate(stream)
    time_base = stream.time_base or 1 / fps
    full = context.pix_fmt.startswith("yuvj")
    return Probe(
        container=container.format.name,
        codec=context.name,
        width=context.width,
        height=context.height,
        pix_fmt=planar,
        source_pix_fmt=context.pix_fmt,
        bit_depth=plane_layout(planar, context.width, context.height).bits,
        fps=fps,
        time_base=time_base,
        sar=stream.sample_aspect_ratio or Fraction(1),
        frames_declared=_declared_frames(container, stream, fps * time_base),
        start_pts=stream.start_time,
        duration_pts=stream.duration,
        duration_seconds=_duration_seconds(container, stream, time_base),
        field_order=FIELD_ORDERS[context.field_order],
        color_range=2 if full else int(context.color_range),
        color_primaries=int(context.color_primaries),
        color_trc=int(context.color_trc),
        colorspace=int(context.colorspace),
        rotation=_rotation(container),
        audio=_codecs(container, "audio"),
        channels=tuple(_channels(stream) for stream in container.streams.audio),
        subtitles=_codecs(container, "subtitle"),
        attachments=_codecs(container, "attachment"),
        data=_codecs(container, "data"),
        chapters=len(container.chapters()),
        timecode=_timecode(container),
    )


def refuse_encrypted(packet: av.Packet[VideoStream] | None) -> None:
    """Raises `ClipFault(UNSUPPORTED_FORMAT)` for a packet of Common Encryption."""
    if packet is not None and packet.has_sidedata("encryption_info"):
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, "the picture is encrypted")


def _check_sound(container: InputContainer) -> None:
    """Raises `ClipFault`, before any work, for sound that the output cannot hold unchanged."""
    with av.open(io.BytesIO(), "w", format="matroska") as output:
        kept = output.supported_codecs
    for codec in _codecs(container, "audio"):
        if codec not in kept:
            raise ClipFault(
                Reason.UNSUPPORTED_FORMAT, f"Matroska cannot hold {codec} sound unchanged"
            )


def picture_order(path: str, limits: Limits) -> str:
    """The field order that the first picture states, for a container that states none."""
    container = open_source(path, limits)
    try:
        picture = next(container.decode(main_video(container)), None)
    except av.FFmpegError:
        return "unknown"
    if picture is None or not picture.interlaced_frame:
        return "unknown"
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base,
    )
    top_first = graph.add("select", "eq(interlace_type,TOPFIRST)")
    graph.link_nodes(source, top_first, graph.add("buffersink")).configure()
    graph.vpush(picture)
    try:
        graph.vpull()
    except av.BlockingIOError:  # the filter did not select the picture
        return "bb"
    return "tt"


def display(container: InputContainer, path: str, limits: Limits) -> tuple[int, ...]:
    """a, b, c, d of the display matrix, without its scale, in 1/256. Empty if nothing is turned.

    Raises `ClipFault(UNSUPPORTED_FORMAT)` for a matrix that does more than turn and mirror.
    """
    if "Display Matrix" not in _described(container):
        return ()
    other = open_source(path, limits)
    try:
        picture = next(other.decode(main_video(other)), None)
    except av.FFmpegError:
        return ()
    if picture is None or (found := picture.side_data.get("DISPLAYMATRIX")) is None:
        return ()
    a, b, u, c, d, v, *_ = struct.unpack("9i", bytes(cast(Any, found))[:36])
    across, down = math.hypot(a, b), math.hypot(c, d)
    skew = abs(a * c + b * d) > across * down / UNIT
    if u or v or not (across and down) or skew:
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, "its display matrix distorts the picture")
    turned = tuple(round(UNIT * value) for value in (a / across, b / across, c / down, d / down))
    return () if turned == (UNIT, 0, 0, UNIT) else turned


def check_display(turned: tuple[int, ...], sar: Fraction) -> None:
    """Raises `ClipFault(UNSUPPORTED_FORMAT)` for what the master's header has no room for."""
    if turned and sar != 1:
        a, b, c, d = turned
        if a * d < b * c and b:
            raise ClipFault(
                Reason.UNSUPPORTED_FORMAT,
                "its picture is mirrored and turned, and its pixels are not square",
            )


def display_matrix(turned: tuple[int, ...]) -> tuple[int, ...]:
    """The nine numbers of the display matrix with these a, b, c, d."""
    a, b, c, d = ((value << 16) // UNIT for value in turned)
    return a, b, 0, c, d, 0, 0, 0, 1 << 30


def states_no_order(container: InputContainer, path: str, limits: Limits) -> bool:
    """Whether a file states timestamps in the order of decoding only.

    AVI has no other. Old programs wrote no other into MP4. Then the timestamps of the packets
    increase, and those of the pictures go back.
    """
    if not main_video(container).codec_context.has_b_frames:
        return False
    other = open_source(path, limits)
    packets, last = [], None
    try:
        for packet in islice(other.demux(main_video(other)), LOOKAHEAD):
            at = _stamp(packet)
            if at is not None and last is not None and at < last:
                return False  # as in most files, so that nothing is decoded
            packets.append(packet)
            last = at if at is not None else last
        shown = [_stamp(picture) for packet in packets for picture in packet.decode()]
    except av.FFmpegError:
        return False
    pictures = [at for at in shown if at is not None]
    return pictures != sorted(pictures)


def _stamp(item: av.Packet[VideoStream] | av.VideoFrame) -> int | None:
    return item.pts if item.pts is not None else item.dts


def _declared_frames(container: InputContainer, stream: VideoStream, step: Fraction) -> int | None:
    if container.format.name == "mxf" and step == 1:
        return stream.duration
    return stream.frames or None


def _frame_rate(stream: VideoStream) -> Fraction:
    """The average rate, but no more than the smallest step of the timestamps allows."""
    average, base = stream.average_rate, stream.base_rate
    if average and base:
        return min(average, base)
    return average or base or stream.guessed_rate or Fraction(25)


def _duration_seconds(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> float | None:
    if stream.duration:
        return float(stream.duration * time_base)
    return container.duration / av.time_base if container.duration else None


def _rotation(container: InputContainer) -> int:
    """The rotation in whole degrees, from libav's printed description of the streams."""
    match = re.search(r"rotation of (-?[0-9]+)", _described(container))
    return int(match.group(1)) if match else 0


def _described(container: InputContainer) -> str:
    av.logging.set_level(av.logging.INFO)
    described = container.dumps_format()  # type: ignore[attr-defined]  # missing in its stubs
    av.logging.set_level(av.logging.WARNING)
    return str(described)


def _codecs(container: InputContainer, kind: str) -> tuple[str, ...]:
    streams = [stream for stream in container.streams if stream.type == kind]
    return tuple(getattr(stream.codec_context, "name", None) or "unknown" for stream in streams)


def _channels(stream: AudioStream) -> int:
    return int(getattr(stream.codec_context, "channels", 0))  # an unknown codec has no context


def _timecode(container: InputContainer) -> str | None:
    tables = [container.metadata, *(stream.metadata for stream in container.streams)]
    found = (text for table in tables for name, text in table.items() if name.lower() == "timecode")
    return next(found, None)
