"""Make a file of another profile from the verified master.

Started by `pipeline.media.deriver`, as a job of `launch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from pipeline.clip.frames import FIELD_ORDERS, Probe, to_ms
from pipeline.clip.scan import ORDER_OF
from pipeline.media.child.decode import LARGE_PIXELS, LARGE_THREADS
from pipeline.media.child.derive_picture import conversions, labelled, picture_filters
from pipeline.media.child.derive_sound import Track
from pipeline.media.child.mxf import patch_aspect
from pipeline.media.child.packets import Carried, codec_name
from pipeline.media.child.probe import display_matrix, main_video, open_source
from pipeline.media.child.runtime import Output, limit_self
from pipeline.media.planes import Overlay
from pipeline.media.profiles import (
    FORMS,
    LIMITED,
    frames_of,
    is_full,
    matrix_for,
    standard_rate,
    timecode_for,
    times_of,
)
from pipeline.media.tags import texts
from pipeline.media.wire import ALIVE, END, PACKETS_PER_ALIVE, DeriveRequest
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

INTERLACED = {"flags": "+ildct+ilme"}  # options of an encoder that codes fields
SUBRIP = ("subrip", "srt")
MXF_COMMENT = "comment_"  # MXF holds a tag under its name with this prefix


class Derivation:
    """Writes one derived file."""

    def __init__(self, request: DeriveRequest, limits: Limits, output: Output) -> None:
        self.limits, self.output = limits, output
        self.path, self.out_path = request["path"], request["out"]
        self.form = FORMS[request["profile"]]
        self.probe = Probe.from_dict(request["probe"])
        self.order, self.times_ms = request["order"], list(request["times_ms"])
        self.regular, self.frames = request["regular"], request["frames"]
        self.per_frame = frames_of(self.form, self.order)
        self.rate = standard_rate(self.probe.fps) * self.per_frame
        self.matrix = matrix_for(self.probe)
        self.entries: list[Carried] = []
        self.tracks: dict[int, Track] = {}
        self.captions: dict[int, Carried] = {}
        self.written = self.seen = self.made = 0
        self.times = times_of(self.times_ms, self.per_frame)
        self._clock_and_step()
        self.range = LIMITED if is_full(self.probe) else self.probe.color_range
        self.label = Overlay.of(request["label"]) if request["label"] else None
        self.graph = picture_filters(self.probe, self.form, self.order)
        for kind, note in conversions(self.probe, self.form, self.order):
            self._note(kind, "converted", note)

    def _clock_and_step(self) -> None:
        """Set the picture's clock: one tick per frame if that is exact, otherwise finer ticks."""
        first = self.times_ms[0]
        if self.form.container == "mxf" or (self.regular and first == 0):
            self.clock, self.step, self.first = 1 / self.rate, 1, 0
        elif self.regular:
            self.clock = Fraction(1, self.rate.numerator * 1000)
            self.step, self.first = self.rate.denominator * 1000, first * self.rate.numerator
        else:
            self.clock, self.step, self.first = Fraction(1, 1000 * self.per_frame), 0, 0

    def run(self) -> dict[str, object]:
        """Write the file. Returns the report."""
        source = open_source(self.path, self.limits)
        options = {"fflags": "bitexact", **self.form.mux_options}
        with av.open(
            self.out_path, "w", format=self.form.container, container_options=options
        ) as out:
            video = self._add_video(out)
            picture = main_video(source).index
            for stream in source.streams:
                if stream.index != picture:
                    self._plan(out, stream)
            self._describe(out, source)
            self._interleave(out, video, source)
        self._note_languages(source)
        if self.form.container == "mxf":
            shape = Fraction(self.probe.width, self.probe.height)
            patch_aspect(Path(self.out_path), shape * self.probe.sar)
        return {"streams": [entry.to_dict() for entry in self.entries], "frames": self.made}

    # ---- everything but the picture ----------------------------------------------------------

    def _plan(self, out: OutputContainer, stream: Stream) -> None:
        if stream.type == "audio":
            track = Track(out, cast(Any, stream), self.form, self._span())
            self.tracks[stream.index] = track
            self.entries.append(track.entry)
            return
        entry = Carried(stream.index, stream.type, codec_name(stream), "dropped")
        name = texts(stream.metadata).get("filename", "")
        entry.note = f"{self.form.title} cannot hold {name or 'it'}"
        self.entries.append(entry)
        if entry.codec in SUBRIP and "captions" not in self.form.loses:
            entry.action, entry.note = "converted", "became MP4 text"
            entry.target = out.add_mux_stream("mov_text")
            entry.target.metadata.update(texts(stream.metadata))
            self.captions[stream.index] = entry

    def _span(self) -> tuple[Fraction, Fraction] | None:
        if self.form.container != "mxf":
            return None
        begin = Fraction(self.times_ms[0], 1000)
        return begin, begin + self.frames / self.rate

    def _describe(self, out: OutputContainer, source: InputContainer) -> None:
        """Write chapters and tags. Note what the container cannot hold."""
        chapters = source.chapters()
        if "chapters" not in self.form.loses:
            out.set_chapters(chapters)
        elif chapters:
            self._note("chapters", "dropped", f"{len(chapters)}; {self.form.title} holds none")
        tags = texts(source.metadata)
        if self.form.container == "mxf":
            tags = {MXF_COMMENT + name: value for name, value in tags.items()}
        out.metadata.update(tags)

    def _note(self, kind: str, action: str, note: str) -> None:
        self.entries.append(Carried(-1, kind, "", action, note))

    def _note_languages(self, source: InputContainer) -> None:
        """Note languages that the file does not state: QuickTime has its own list of languages."""
        with av.open(self.out_path) as written:
            found = [stream.metadata.get("language") for stream in written.streams.audio]
        for track, language in zip(self.tracks.values(), found, strict=True):
            named = source.streams[track.entry.index].metadata.get("language")
            if named not in (None, "und", language):
                lost = f"its language {named} is not held"
                track.entry.note = f"{track.entry.note}, {lost}".removeprefix(", ")

    # ---- the picture -------------------------------------------------------------------------

    def _add_video(self, out: OutputContainer) -> VideoStream:
        probe, form = self.probe, self.form
        fields = self.order != "progressive" and self.per_frame == 1
        options = dict(form.options) | (INTERLACED if fields else {})
        stream = cast(VideoStream, out.add_stream(form.codec, rate=self.rate, options=options))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = probe.width, probe.height, form.pix_fmt
        context.framerate, context.time_base = self.rate, self.clock
        context.sample_aspect_ratio = probe.sar
        order = ORDER_OF[self.order] if fields else "progressive"
        context.field_order = FIELD_ORDERS.index(order)
        context.color_range = self.range
        context.color_primaries, context.color_trc = probe.color_primaries, probe.color_trc
        context.colorspace = self.matrix
        large = probe.width * probe.height > LARGE_PIXELS
        context.thread_count = LARGE_THREADS if large else 1
        timecode = timecode_for(probe.timecode, self.per_frame)
        if timecode:
            stream.metadata["timecode"] = timecode
        elif probe.timecode:
            self._note("timecode", "dropped", f"{probe.timecode!r} is no timecode")
        if probe.display and "rotation" not in self.form.loses:
            stream.set_display_matrix(display_matrix(probe.display))
        return stream

    def _interleave(self, out: OutputContainer, video: VideoStream, source: InputContainer) -> None:
        picture = main_video(source)
        wanted = [picture, *(source.streams[i] for i in (*self.tracks, *self.captions))]
        for packet in source.demux(wanted):
            if packet.stream.index == picture.index:
                for frame in packet.decode():
                    self._mux(out, self._encoded(video, cast(av.VideoFrame, frame)))
            elif packet.stream.index in self.tracks:
                track = self.tracks[packet.stream.index]
                if packet.size or not track.copied:
                    self._mux(out, track.feed(cast(Any, packet)))
            elif packet.size:
                self._mux(out, [self._caption(packet)])
        self._mux(out, self._encoded(video, None))
        for track in self.tracks.values():
            self._mux(out, track.finish())

    def _encoded(
        self, video: VideoStream, picture: av.VideoFrame | None
    ) -> Iterator[av.Packet[VideoStream]]:
        """The packets of the master's next picture. None: the packets still in the encoder."""
        for frame in self._filtered(picture):
            if self.label is not None:
                labelled(frame, self.label)
            frame.pts, frame.time_base = self._stamp(self.made), self.clock
            frame.color_range = self.range
            frame.color_primaries, frame.color_trc = (
                self.probe.color_primaries,
                self.probe.color_trc,
            )
            frame.colorspace = self.matrix
            frame.pict_type = (
                PictureType.NONE
            )  # the encoder chooses: the master has key frames only
            self.made += 1
            yield from video.encode(frame)
        if picture is None:
            yield from video.encode(None)

    def _filtered(self, picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        if self.graph is None:
            if picture is not None:
                yield picture
            return
        if picture is not None:
            picture.pts, picture.time_base = 40 * self.seen, Fraction(1, 1000)
            self.seen += 1
        self.graph.vpush(picture)
        while True:
            try:
                yield self.graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return

    def _stamp(self, index: int) -> int:
        if self.step:
            return int(self.first + index * self.step)
        return int(self.times[index] * self.per_frame)

    def _caption(self, packet: av.Packet[Any]) -> av.Packet[Any]:
        """SubRip as an MP4 text sample: length, then text."""
        entry, text = self.captions[packet.stream.index], bytes(packet)
        carried: av.Packet[Any] = av.Packet(len(text).to_bytes(2, "big") + text)
        clock = packet.time_base
        carried.pts = carried.dts = to_ms(packet.pts or 0, clock)
        carried.duration, carried.time_base = to_ms(packet.duration or 0, clock), Fraction(1, 1000)
        carried.stream = cast(Stream, entry.target)
        entry.take(bytes(carried))
        return carried

    def _mux(self, out: OutputContainer, packets: Any) -> None:  # noqa: ANN401 (packets of any stream)
        for packet in packets:
            out.mux_one(packet)
            self.written += 1
            if self.written % PACKETS_PER_ALIVE == 0:
                self.output.send_json(ALIVE, {})


def derive(request: DeriveRequest, output: Output) -> None:
    """Write the derived file and send the report. Raises `ClipFault(ENCODE_ERROR)`."""
    limits = Limits(**request["limits"])
    limit_self(limits, file_bytes=request["max_bytes"])
    try:
        report = Derivation(request, limits, output).run()
    except (av.FFmpegError, ValueError) as error:
        what = f"the {request['profile']} file cannot be made: {error}"
        raise ClipFault(Reason.ENCODE_ERROR, what) from error
    output.send_json(END, report)


WORK = derive
