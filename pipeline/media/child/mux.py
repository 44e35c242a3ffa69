"""Join restored segments and the other streams of the source into one Matroska file.

Started by `pipeline.media.muxer`, as a job of `launch`.
Nothing is decoded and no payload changes, with one exception: the text of MP4 subtitles becomes
SubRip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from pipeline.clip.frames import UNIT, Probe, to_ms
from pipeline.media.child.matroska import PLACEHOLDER, patch_header
from pipeline.media.child.packets import (
    Carried,
    codec_name,
    hash_streams,
    others,
    payload_of,
    plain_text,
    read_packets,
)
from pipeline.media.child.probe import display_matrix, main_video, open_source
from pipeline.media.child.runtime import Output, limit_self
from pipeline.media.tags import beside, describe_picture, texts
from pipeline.media.wire import ALIVE, END, PACKETS_PER_ALIVE, AssembleRequest, MuxRequest
from pipeline.store.local import is_full
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

if TYPE_CHECKING:
    from av.container.core import Chapter  # in its stubs only

MILLISECONDS = Fraction(1, 1000)
# Every stream that begins before time 0 has a packet among the first LOOKAHEAD_PACKETS.
LOOKAHEAD_PACKETS = 2000
# Sound that begins up to this many seconds before time 0 is priming of the codec. A longer lead is
# content.
LONGEST_PRIMING = Fraction(1, 2)
# Display matrices: libav writes one number for a turn, and two for a turn of a mirrored picture.
SHORT_PLACEHOLDER, LONG_PLACEHOLDER = (0, UNIT, -UNIT, 0), (0, UNIT, UNIT, 0)
COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


class Assembly:
    """Writes one output file."""

    def __init__(self, request: AssembleRequest, limits: Limits, output: Output) -> None:
        self.limits, self.output = limits, output
        self.path, self.out_path = request["path"], Path(request["out"])
        self.segments = [Path(segment) for segment in request["segments"]]
        self.probe = Probe.from_dict(request["probe"])
        self.pts_ms = [to_ms(pts, self.probe.time_base) for pts in request["pts"]]
        self.tags, self.dropped = request["tags"], set(request["dropped"])
        self.carried: list[Carried] = []
        self.covers: dict[int, bytes] = {}
        self.shift_ms = 0
        self.written = 0

    def run(self) -> dict[str, object]:
        """Write the file. Returns the report."""
        first_ms = self._look_ahead()
        source = open_source(self.path, self.limits)
        options = {"default_mode": "passthrough"}
        if not any(
            codec_name(s) == "aac" and not s.codec_context.extradata for s in source.streams
        ):
            # Equal inputs give equal files. AAC without a codec header does not allow it.
            options["fflags"] = "bitexact"
        with av.open(str(self.out_path), "w", format="matroska", container_options=options) as out:
            video = self._add_video(out, source)
            for stream in others(source):
                self._plan(out, stream, first_ms.get(stream.index, 0))
            self._add_attachments(out, source)
            found = texts(source.metadata)
            originals = {name: text for name, text in found.items() if name not in self.dropped}
            self.tags = beside(self._with_unrestored(), originals)
            out.metadata.update(originals | self.tags)
            out.set_chapters([self._chapter(chapter) for chapter in source.chapters()])
            self._interleave(out, video, source)
        self._patch()
        streams = [entry.to_dict() for entry in self.carried]
        return {"shift_ms": self.shift_ms, "streams": streams, "tags": self.tags}

    def _with_unrestored(self) -> dict[str, str]:
        """The tags; of a file with further pictures also that these are not restored."""
        others = [str(e.index) for e in self.carried if e.kind == "video" and e.target is not None]
        if not others or "RESTORATION" not in self.tags:
            return dict(self.tags)
        text = f"only the first picture is restored; streams {', '.join(others)} are the source's"
        return {**self.tags, "RESTORATION_UNRESTORED": text}

    def _look_ahead(self) -> dict[int, int]:
        """The first timestamp of each stream in ms. Sets the shift and reads cover pictures."""
        source = open_source(self.path, self.limits)
        first: dict[int, int] = {}
        for number, packet in enumerate(read_packets(source, others(source))):
            if packet.stream.disposition & Disposition.attached_pic:
                self.covers[packet.stream_index] = bytes(packet)
            elif packet.pts is not None:
                first.setdefault(packet.stream_index, to_ms(packet.pts, packet.time_base))
            if number > LOOKAHEAD_PACKETS:
                break
        primed = {
            index: at
            for index, at in first.items()
            if source.streams[index].type == "audio" and -LONGEST_PRIMING * 1000 <= at < 0
        }
        rest = [at for index, at in first.items() if index not in primed]
        self.shift_ms = max(0, -min([*self.pts_ms[:1], *rest], default=0))
        return first

    def _add_video(self, out: OutputContainer, source: InputContainer) -> VideoStream:
        """Add the picture's stream, with the codec header that all segments must share."""
        headers = set()
        for segment in self.segments:
            with av.open(str(segment)) as container:
                headers.add(container.streams.video[0].codec_context.extradata)
        if len(headers) != 1:
            raise ClipFault(
                Reason.ENCODE_ERROR,
                f"the {len(self.segments)} segments have {len(headers)} codec headers, not one",
            )
        stream = out.add_stream("ffv1", rate=self.probe.fps, options={"level": "3"})
        context = stream.codec_context
        describe_picture(context, self.probe)
        context.open()
        context.extradata = headers.pop()
        original = main_video(source)
        stream.metadata.update(texts(original.metadata))
        if self.probe.timecode:
            stream.metadata["timecode"] = self.probe.timecode
        stream.disposition = original.disposition
        # The aspect is written over the element that states how the picture is turned.
        display = self.probe.display
        if self._states_aspect():
            display = LONG_PLACEHOLDER if display else SHORT_PLACEHOLDER
        stream.set_display_matrix(display_matrix(display))
        return stream

    def _states_aspect(self) -> bool:
        return not self.probe.display or self.probe.sar != 1

    def _plan(self, out: OutputContainer, stream: Stream, first_ms: int) -> None:
        entry = Carried(stream.index, stream.type, codec_name(stream), "kept")
        if stream.type == "attachment" or stream.index in self.covers:
            return
        self.carried.append(entry)
        if entry.codec == "mov_text":
            entry.action, entry.note = (
                "converted",
                "MP4 text became SubRip; styles and positions are not carried",
            )
            entry.target = out.add_mux_stream("subrip")
        elif stream.type == "data" or entry.codec not in out.supported_codecs:
            self._drop(entry, stream)
            return
        else:
            entry.target = out.add_stream_from_template(stream, opaque=True)
        target = entry.target
        assert target is not None
        target.metadata.update(texts(stream.metadata))
        target.disposition = stream.disposition
        if (
            stream.type == "audio"
            and first_ms + self.shift_ms < 0
            and not stream.codec_context.delay
        ):
            entry.delay_ns = -(first_ms + self.shift_ms) * 1_000_000
            target.metadata["title"] = target.metadata.get("title", "") + PLACEHOLDER

    def _drop(self, entry: Carried, stream: Stream) -> None:
        if entry.kind == "audio":
            raise ClipFault(
                Reason.UNSUPPORTED_FORMAT, f"Matroska cannot hold {entry.codec} sound unchanged"
            )
        entry.action = "dropped"
        entry.note = f"Matroska cannot hold {entry.codec} {entry.kind}"
        if "timecode" in stream.metadata:
            entry.note = "its timecode is kept as a tag"

    def _add_attachments(self, out: OutputContainer, source: InputContainer) -> None:
        for stream in source.streams:
            entry = Carried(stream.index, "attachment", codec_name(stream), "kept")
            if stream.type == "attachment":
                attached = cast(Any, stream)
                name = texts(stream.metadata).get("filename", f"attachment-{stream.index}")
                data, kind = attached.data, attached.mimetype or "application/octet-stream"
            elif stream.index in self.covers and entry.codec in COVERS:
                (name, kind), data = COVERS[entry.codec], self.covers[stream.index]
            else:
                continue
            out.add_attachment(name, kind, data)
            entry.take(data)
            self.carried.append(entry)

    def _interleave(self, out: OutputContainer, video: VideoStream, source: InputContainer) -> None:
        entries = {entry.index: entry for entry in self.carried if entry.target is not None}
        pictures = self._pictures(video)
        picture = next(pictures, None)
        for packet in read_packets(source, [source.streams[index] for index in entries]):
            entry = entries[packet.stream_index]
            at = self._stamp(packet, entry)
            while picture is not None and cast(int, picture.pts) <= at:
                self._mux(out, picture)
                picture = next(pictures, None)
            carried = plain_text(packet) if entry.action == "converted" else packet
            if carried is not None:
                entry.take(payload_of(carried, entry.codec))
                carried.stream = cast(Stream, entry.target)
                self._mux(out, carried)
        while picture is not None:
            self._mux(out, picture)
            picture = next(pictures, None)

    def _mux(self, out: OutputContainer, packet: av.Packet[Any]) -> None:
        out.mux_one(packet)
        self.written += 1
        if self.written % PACKETS_PER_ALIVE == 0:
            self.output.send_json(ALIVE, {})

    def _stamp(self, packet: av.Packet[Any], entry: Carried) -> int:
        """Convert the packet to the output's clock. Returns its time in ms."""
        clock, added = packet.time_base, self.shift_ms + entry.delay_ns // 1_000_000
        pts, dts, duration = packet.pts, packet.dts, packet.duration
        packet.pts = None if pts is None else to_ms(pts, clock) + added
        packet.dts = None if dts is None else to_ms(dts, clock) + added
        packet.duration = to_ms(duration or 0, clock)
        packet.time_base = MILLISECONDS
        return next((at for at in (packet.dts, packet.pts) if at is not None), 0)

    def _pictures(self, stream: VideoStream) -> Iterator[av.Packet[VideoStream]]:
        """The segments' packets with the source's timestamps. Raises `ClipFault(FRAME_COUNT)`."""
        count, times = 0, self.pts_ms
        for segment in self.segments:
            with av.open(str(segment)) as container:
                for packet in container.demux(container.streams.video[0]):
                    if not packet.size:
                        continue
                    if count < len(times):
                        packet.stream = stream
                        packet.pts = packet.dts = times[count] + self.shift_ms
                        packet.duration = self._duration(count)
                        packet.time_base = MILLISECONDS
                        yield packet
                    count += 1
        if count != len(times):
            raise ClipFault(
                Reason.FRAME_COUNT, f"the segments hold {count} frames, the source {len(times)}"
            )

    def _duration(self, index: int) -> int:
        times = self.pts_ms
        if index + 1 < len(times):
            return times[index + 1] - times[index]
        return to_ms(1, 1 / self.probe.fps)

    def _chapter(self, chapter: Chapter) -> Chapter:
        clock = chapter["time_base"] or MILLISECONDS
        shift = round(self.shift_ms * MILLISECONDS / clock)
        return {
            "id": chapter["id"],
            "start": chapter["start"] + shift,
            "end": chapter["end"] + shift,
            "time_base": clock,
            "metadata": texts(chapter["metadata"], keep_all=True),
        }

    def _patch(self) -> None:
        probe = self.probe
        delays = {}
        tracks = [entry for entry in self.carried if entry.target is not None]
        for number, entry in enumerate(tracks, start=1):
            if entry.delay_ns and entry.target is not None:
                name = entry.target.metadata["title"].removesuffix(PLACEHOLDER)
                delays[number] = (name, entry.delay_ns)
        aspect = (probe.width, probe.height, probe.sar) if self._states_aspect() else None
        if aspect or delays:
            patch_header(self.out_path, aspect, delays, probe.display)


def assemble(request: AssembleRequest, output: Output) -> None:
    """Write an output file and send the report. Raises `ClipFault`."""
    limits = Limits(**request["limits"])
    limit_self(limits, file_bytes=request["max_bytes"])
    try:
        report = Assembly(request, limits, output).run()
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = Reason.DISK_FULL if is_full(error) else Reason.ENCODE_ERROR
        raise ClipFault(reason, f"the output cannot be written: {error}") from error
    output.send_json(END, report)


KINDS: dict[str, Callable[[Any, Output], None]] = {"assemble": assemble, "hash": hash_streams}


def mux(request: MuxRequest, output: Output) -> None:
    """Do the work that the request names."""
    KINDS[request["work"]](request, output)


WORK = mux
