"""Generated media. Every frame shows its number, so a wrong frame is found by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from pipeline.media.child.matroska import patch_header
from pipeline.media.planes import plane_layout

COUNTER_BITS = 8
AUDIO_RATE = 48000


def draw_planes(index: int, pix_fmt: str, width: int, height: int) -> list[NDArray[Any]]:
    """Planes of frame `index`: a moving gradient, and its number in dark and bright boxes."""
    layout = plane_layout(pix_fmt, width, height)
    peak = (1 << layout.bits) - 1
    planes = []
    for number, (rows, columns) in enumerate(layout.shapes):
        y, x = np.mgrid[0:rows, 0:columns]
        ramp = (x * (number + 1) + y * 2 + 5 * index) / (2 * rows + (number + 1) * columns)
        planes.append((ramp * 0.6 * peak + 0.2 * peak).astype(layout.dtype))
    box = width // COUNTER_BITS
    for bit in range(COUNTER_BITS):
        value = 0.8 if index >> bit & 1 else 0.2
        planes[0][: height // 4, bit * box : (bit + 1) * box] = int(value * peak)
    return planes


def draw_fields(index: int, pix_fmt: str, width: int, height: int, scan: str) -> list[NDArray[Any]]:
    """Planes of interlaced frame `index`: waves that move between its two fields."""
    planes = draw_planes(index, pix_fmt, width, height)
    peak = (1 << plane_layout(pix_fmt, width, height).bits) - 1
    for number, plane in enumerate(planes):
        rows, columns = plane.shape
        y, x = np.mgrid[0:rows, 0:columns]
        late = (y % 2 == 1) if scan == "tff" else (y % 2 == 0)
        phase = 4 * x / columns + y / rows - 0.1 * (2 * index + late) + number / 3
        wave = ((0.5 + 0.3 * np.sin(2 * np.pi * phase)) * peak).astype(plane.dtype)
        first = rows // 4 if number == 0 else 0  # below the number
        plane[first:] = wave[first:]
    return planes


def read_counter(luma: NDArray[Any]) -> int:
    """The number that a frame shows, read from its first plane, even after lossy coding."""
    peak = 255 if luma.dtype == np.uint8 else luma.max() / 0.8
    box = luma.shape[1] // COUNTER_BITS
    rows = slice(1, luma.shape[0] // 4 - 1)
    boxes = [luma[rows, bit * box + 1 : (bit + 1) * box - 1].mean() for bit in range(COUNTER_BITS)]
    return sum(1 << bit for bit, value in enumerate(boxes) if value > peak / 2)


def to_frame(planes: Sequence[NDArray[Any]], pix_fmt: str) -> av.VideoFrame:
    """Planes as a libav frame of a planar format."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)
        rows[:, : plane.nbytes // len(plane)] = plane.reshape(len(plane), -1).view(np.uint8)
    return frame


@dataclass(frozen=True)
class Sound:
    """A sound track of seeded noise as long as the picture."""

    codec: str
    seed: int = 0
    layout: str = "stereo"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """What to write. `pts` in units of `time_base`; without them, one per frame at `fps`."""

    codec: str = "ffv1"
    pix_fmt: str = "yuv420p"
    width: int = 64
    height: int = 48
    frames: int = 12
    fps: Fraction = Fraction(25)
    options: dict[str, str] = field(default_factory=lambda: {"level": "3", "g": "1"})
    pts: Sequence[int] = ()
    time_base: Fraction | None = None
    sounds: tuple[Sound, ...] = ()
    captions: Sequence[tuple[int, int, str]] = ()  # start and duration in ms, text
    chapters: Sequence[tuple[int, int, str]] = ()  # start and end in ms, title
    attachments: Sequence[tuple[str, str, bytes]] = ()
    tags: dict[str, str] = field(default_factory=dict)
    video_tags: dict[str, str] = field(default_factory=dict)
    sar: Fraction | None = None
    colour: tuple[int, int, int, int] = (0, 2, 2, 2)  # range, primaries, transfer, matrix
    field_order: int = 0
    caption_codec: str = "subrip"
    scan: str = "progressive"  # or tff, bff: drawn as fields, and every frame says so
    grain: int = 0  # code values of noise that are added, at most
    muxer: str | None = None
    mux_options: dict[str, str] = field(default_factory=dict)
    coded: str | None = None  # the codec's pixel format, where it is not the drawn one


H264 = {"codec": "libx264", "options": {"preset": "ultrafast", "g": "10", "bf": "2"}}


def write_clip(path: Path, clip: Clip) -> list[list[NDArray[Any]]]:
    """Write the clip. Return the planes of every frame as sent to the encoder."""
    drawn = [_draw(i, clip) for i in range(clip.frames)]
    with av.open(str(path), "w", format=clip.muxer, options=clip.mux_options) as container:
        video = _video_stream(container, clip)
        sounds = [
            (container.add_stream(s.codec, rate=AUDIO_RATE, layout=s.layout), s)
            for s in clip.sounds
        ]
        for stream, sound in sounds:
            stream.metadata.update(sound.tags)
        captions = container.add_mux_stream(clip.caption_codec) if clip.captions else None
        for name, kind, data in clip.attachments:
            container.add_attachment(name, kind, data)
        container.metadata.update(clip.tags)
        container.set_chapters(
            [_chapter(*item, number) for number, item in enumerate(clip.chapters)]
        )
        for index, planes in enumerate(drawn):
            frame = _coded(planes, clip)
            frame.pts = clip.pts[index] if clip.pts else index
            frame.time_base = clip.time_base or 1 / clip.fps
            frame = _flagged(frame, clip.scan)
            _tag(frame, clip)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for stream, sound in sounds:
            _write_sound(container, stream, sound, clip.frames / clip.fps)
        for item in clip.captions:
            container.mux(_caption(captions, clip.caption_codec, *item))
    if clip.sar is not None and path.suffix == ".mkv":
        patch_header(path, (clip.width, clip.height, clip.sar), {})
    return drawn


def _draw(index: int, clip: Clip) -> list[NDArray[Any]]:
    size = clip.width, clip.height
    if clip.scan == "progressive":
        planes = draw_planes(index, clip.pix_fmt, *size)
    else:
        planes = draw_fields(index, clip.pix_fmt, *size, clip.scan)
    if clip.grain:
        rng = np.random.default_rng(index)
        planes = [p + rng.integers(0, clip.grain, p.shape).astype(p.dtype) for p in planes]
    return planes


def _coded(planes: Sequence[NDArray[Any]], clip: Clip) -> av.VideoFrame:
    if clip.coded is None or clip.coded.startswith("yuvj"):
        return to_frame(planes, clip.coded or clip.pix_fmt)
    return to_frame(planes, clip.pix_fmt).reformat(format=clip.coded)


def _tag(frame: av.VideoFrame, clip: Clip) -> None:
    """Set the colour on the frame too, because some encoders read it there."""
    frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = clip.colour


def _flagged(frame: av.VideoFrame, scan: str) -> av.VideoFrame:
    """The frame with its field order, which PyAV cannot set."""
    if scan == "progressive":
        return frame
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("setfield", scan), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def _video_stream(container: Any, clip: Clip) -> Any:
    stream = container.add_stream(clip.codec, rate=clip.fps, options=dict(clip.options))
    stream.width, stream.height = clip.width, clip.height
    stream.pix_fmt = clip.coded or clip.pix_fmt
    context = stream.codec_context
    context.thread_count = 1
    context.color_range, context.color_primaries, context.color_trc, context.colorspace = (
        clip.colour
    )
    context.field_order = clip.field_order
    if clip.sar is not None:
        context.sample_aspect_ratio = clip.sar
        if container.format.name == "matroska":
            stream.set_display_rotation(90)  # the place that the aspect is written to
    if clip.time_base is not None:
        context.time_base = clip.time_base
    stream.metadata.update(clip.video_tags)
    return stream


def _write_sound(container: Any, stream: Any, sound: Sound, seconds: Fraction) -> None:
    rng = np.random.default_rng(sound.seed)
    kinds = {
        "fltp": np.float32,
        "s16": np.int16,
        "s32": np.int32,
        "s16p": np.int16,
        "s32p": np.int32,
    }
    form = stream.codec_context.format.name
    channels = stream.codec_context.channels
    for start in range(0, int(AUDIO_RATE * seconds), 1024):
        noise = rng.standard_normal((channels, 1024)) * 0.1
        if kinds[form] is not np.float32:
            noise *= np.iinfo(kinds[form]).max
        samples = noise.astype(kinds[form])
        samples = samples if form.endswith("p") else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), form, sound.layout)
        frame.sample_rate, frame.pts = AUDIO_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _caption(stream: Any, codec: str, start_ms: int, duration_ms: int, text: str) -> av.Packet:
    payload = text.encode()
    if codec == "mov_text":
        payload = len(payload).to_bytes(2, "big") + payload
    packet = av.Packet(payload)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start_ms
    packet.duration = duration_ms
    return packet


def _chapter(start_ms: int, end_ms: int, title: str, number: int) -> dict[str, Any]:
    clock = Fraction(1, 1000)
    metadata = {"title": title}
    return {
        "id": number + 1,
        "start": start_ms,
        "end": end_ms,
        "time_base": clock,
        "metadata": metadata,
    }
