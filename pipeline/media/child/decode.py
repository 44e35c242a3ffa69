"""Decode an untrusted file: send its probe, the planes of its frames, and a trailer.

Started by `pipeline.media.decoder`, as a job of `launch`.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Probe
from pipeline.clip.pulldown import Stamped
from pipeline.media.child.deinterlace import converted
from pipeline.media.child.probe import (
    Logs,
    check_display,
    display,
    main_video,
    open_source,
    picture_order,
    probe_container,
    refuse_encrypted,
    states_no_order,
)
from pipeline.media.child.runtime import MAX_THREADS, Output, limit_self
from pipeline.media.planes import Source, extract_planes, planar_format, plane_layout
from pipeline.media.wire import END, FRAME, FRAME_HEADER, PROBE, DecodeRequest
from pipeline.sources.sequence import is_sequence, runs_of
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

MAX_MESSAGES = 200
REORDERED = (
    "the file states timestamps in the order of decoding only; they were put into the order of "
    "presentation"
)
# Pictures above this size are decoded with at least LARGE_THREADS threads.
LARGE_PIXELS = 1920 * 1088
LARGE_THREADS = 4


class Part(NamedTuple):
    """A container to decode, the offset of its timestamps, and the pictures to take (None: all)."""

    container: InputContainer
    offset: int = 0
    pictures: int | None = None


class _LandedLate(Exception):
    """A seek did not lead to the requested frame."""


class _Decoding:
    """One pass over the pictures of a source, from the start or from a seek target."""

    def __init__(self, parts: Iterable[Part], limits: Limits, probe: Probe, threads: int) -> None:
        self.parts, self.limits, self.probe = parts, limits, probe
        large = probe.width * probe.height > LARGE_PIXELS
        self.threads = min(max(threads, LARGE_THREADS if large else 1), MAX_THREADS)
        self.messages: list[dict[str, object]] = []
        self.packets = self.discarded = self.frames = self.interlaced = self.corrupt = 0
        self.message_count = self.offset = 0
        self.captions = False
        self.last_pts: int | None = None
        self.stated: list[int] = []  # a heap of the timestamps that no picture has yet

    def pictures(self, logs: Logs) -> Iterator[av.VideoFrame]:
        """Pictures in presentation order. Each message is noted with the next picture."""
        for part in self.parts:
            self.offset = part.offset
            yield from islice(self._pictures(part.container, logs), part.pictures)
            self.drain(logs)

    def _pictures(self, container: InputContainer, logs: Logs) -> Iterator[av.VideoFrame]:
        stream = main_video(container)
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = self.threads
        for packet in self._packets(container, stream):
            if packet.size:
                self.packets += 1
                self.discarded += packet.is_discard
                self.corrupt += packet.is_corrupt
                self._look_at(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self.note(
                    av.logging.ERROR,
                    self.probe.codec,
                    f"{error.strerror} (packet {self.packets - 1})",
                )
                pictures = []
            self.drain(logs)
            yield from pictures

    def _packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[av.Packet[VideoStream]]:
        """The packets up to a place that the container cannot read past, which is noted."""
        try:
            yield from container.demux(stream)
        except av.FFmpegError as error:
            text = f"{error.strerror} (after packet {self.packets - 1})"
            self.note(av.logging.ERROR, self.probe.container, text)

    def _look_at(self, packet: av.Packet[VideoStream]) -> None:
        """Keep its timestamp, if pictures have to be put in order. Raises `ClipFault`."""
        refuse_encrypted(packet)
        stated = packet.pts if packet.pts is not None else packet.dts
        if self.probe.reordered and stated is not None and not packet.is_discard:
            heapq.heappush(self.stated, stated)

    def drain(self, logs: Logs) -> None:
        for level, source, text in logs:
            self.note(level, source, text.strip())
        logs.clear()

    def note(self, level: int, source: str, text: str) -> None:
        self.message_count += 1
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(
                {"level": level, "source": source, "text": text, "frame": self.frames}
            )

    def stamp(self, picture: av.VideoFrame) -> int:
        """The picture's pts, or one step after the last. Raises `ClipFault` if not increasing."""
        pts = picture.pts if picture.pts is not None else picture.dts
        if self.probe.reordered:  # the decoder gives pictures in the order of presentation
            pts = heapq.heappop(self.stated) if self.stated else None
        if pts is None:
            step = max(1, round(1 / (self.probe.fps * self.probe.time_base)))
            pts = 0 if self.last_pts is None else self.last_pts + step - self.offset
        pts += self.offset
        if self.last_pts is not None and pts <= self.last_pts:
            raise ClipFault(
                Reason.DECODE_ERROR,
                f"the timestamp of frame {self.frames} is {pts}, after {self.last_pts}",
            )
        self.last_pts = pts
        return pts

    def check(self, picture: av.VideoFrame) -> None:
        """Raises `ClipFault` if size or format changes, or if there are too many frames."""
        if self.frames >= self.limits.max_frames:
            raise ClipFault(
                Reason.MEDIA_BOMB,
                f"more than {self.limits.max_frames} frames, the limit max_frames",
            )
        got = (picture.width, picture.height, picture.format.name)
        declared = (self.probe.width, self.probe.height, self.probe.source_pix_fmt)
        if got != declared:
            now, before = _described(*got), _described(*declared)
            raise ClipFault(
                Reason.DECODE_ERROR, f"the picture changes at frame {self.frames}: {before}, {now}"
            )

    def count(self, picture: av.VideoFrame) -> None:
        self.frames += 1
        self.interlaced += picture.interlaced_frame
        self.corrupt += picture.is_corrupt
        self.captions = self.captions or _has_captions(picture)

    def trailer(self) -> dict[str, object]:
        names = (
            "frames packets discarded interlaced corrupt captions message_count messages last_pts"
        )
        return {name: getattr(self, name) for name in names.split()}


def _described(width: int, height: int, pix_fmt: str) -> str:
    return f"{width}x{height} {pix_fmt}"


def _has_captions(picture: av.VideoFrame) -> bool:
    try:
        return Type.A53_CC in picture.side_data
    except ValueError:  # PyAV has no name for some side data, such as that of TIFF
        return False


def decode(request: DecodeRequest, output: Output) -> None:
    """Send the probe, the frames and the trailer. Raises `ClipFault`."""
    limits = Limits(**request["limits"])
    limit_self(limits)
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    path, start, count = request["path"], request["start_pts"], request["count"]
    threads = request["threads"]
    container = open_source(path, limits)
    probe = probe_container(container, main_video(container), limits)
    if probe.field_order == "unknown":
        probe = replace(probe, field_order=picture_order(path, limits))
    if not is_sequence(path):
        turned = display(container, path, limits)
        check_display(turned, probe.sar)
        reordered = states_no_order(container, path, limits)
        probe = replace(probe, display=turned, reordered=reordered)
    runs = runs_of(path) if is_sequence(path) else []
    if len(runs) > 1:
        probe = replace(probe, frames_declared=sum(map(len, runs)), duration_pts=None)
    output.send_json(PROBE, probe.to_dict())
    if count == 0:
        return
    conversion = Conversion(**request["conversion"]) if request["conversion"] else None
    with av.logging.Capture(local=False) as logs:
        try:
            if len(runs) > 1:
                parts = _parts(path, limits, runs, start or 0)
            elif start is not None and (probe.reordered or not _seek(container, start)):
                raise _LandedLate
            else:
                parts = iter([Part(container)])
            run = _Decoding(parts, limits, probe, threads)
            if probe.reordered:
                run.note(av.logging.WARNING, probe.container, REORDERED)
            _send(converted(_frames(run, logs, start), conversion, probe), output, count)
        except _LandedLate:
            run = _Decoding([Part(open_source(path, limits))], limits, probe, threads)
            frames = _frames(run, logs, start, linear=True)
            _send(converted(frames, conversion, probe), output, count)
    output.send_json(END, run.trailer())


def _parts(path: str, limits: Limits, runs: list[range], start: int) -> Iterator[Part]:
    """The runs of a sequence with gaps, from frame `start` on. Time continues in the gaps."""
    first = runs[0].start
    for run in runs:
        begin = max(run.start, first + start)
        if begin < run.stop:
            yield Part(open_source(path, limits, begin), begin - first, run.stop - begin)


def _seek(container: InputContainer, start_pts: int) -> bool:
    try:
        container.seek(start_pts, stream=main_video(container))
    except av.FFmpegError:
        return False
    return True


def _frames(
    run: _Decoding, logs: Logs, start_pts: int | None, linear: bool = False
) -> Iterator[Stamped]:
    """Frames from `start_pts` on. Raises `_LandedLate`, before any frame, if a seek missed it."""
    planar, components, big_endian = planar_format(run.probe.source_pix_fmt)
    layout = plane_layout(planar, run.probe.width, run.probe.height)
    source = Source(components, big_endian, layout.shapes, layout.dtype)
    for number, picture in enumerate(run.pictures(logs)):
        pts = run.stamp(picture)
        if start_pts is not None and pts < start_pts:
            continue
        if run.frames == 0 and start_pts is not None:
            unsafe = picture.is_corrupt or (number == 0 and not picture.key_frame)
            if not linear and (pts != start_pts or unsafe):
                raise _LandedLate
            if pts != start_pts:
                raise ClipFault(Reason.DECODE_ERROR, f"no frame has the timestamp {start_pts}")
            run.messages.clear()
        run.check(picture)
        run.count(picture)
        yield pts, tuple(extract_planes(picture, source))
    if start_pts is not None and not linear and run.frames == 0:
        raise _LandedLate


def _send(frames: Iterable[Stamped], output: Output, count: int | None) -> None:
    for pts, planes in islice(frames, count):
        checksum = 0
        for plane in planes:
            checksum = zlib.crc32(plane.data, checksum)
        views = [plane.data.cast("B") for plane in planes]
        output.send(FRAME, FRAME_HEADER.pack(pts, checksum), *views)


WORK = decode
