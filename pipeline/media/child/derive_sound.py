"""Write the sound of a derived file: copy it, or decode and encode it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer

from pipeline.media.child.packets import Carried, codec_name, payload_of
from pipeline.media.profiles import LAYOUTS, PCM, Form
from pipeline.media.tags import texts

# Matroska's clock is 1 ms: a shorter gap in the sound may be rounding.
GAP_SECONDS = Fraction(3, 1000)
AAC_RATES = (44100, 48000)
AAC_BITS = 320_000  # per second, of more than one channel
DTYPES = {"u8": "u1", "s16": "<i2", "s32": "<i4", "flt": "<f4", "dbl": "<f8"}


class Track:
    """Writes one sound track of the master into the derived file.

    Samples follow each other without gaps: silence fills a gap. `span` is the begin and the end of
    the picture in seconds, if the container has one length for all tracks.
    """

    def __init__(
        self,
        out: OutputContainer,
        source: AudioStream,
        form: Form,
        span: tuple[Fraction, Fraction] | None,
    ) -> None:
        self.codec, self.form, self.span = codec_name(source), form, span
        self.source, self.rate = source, source.rate
        self.layout = LAYOUTS.get(source.channels, source.layout.name)
        self.entry = Carried(source.index, "audio", self.codec, "kept")
        kept = self.codec in form.sound_kept and form.sound_rate in (None, self.rate)
        self.copied = kept and self.codec not in PCM
        if self.copied:
            target = out.add_stream_from_template(source, opaque=True)
        else:
            target = self._encoder(out, self.codec if kept else form.sound_codec)
        target.metadata.update(texts(source.metadata))
        target.disposition = source.disposition
        self.entry.target = self.target = target
        self.at: int | None = None  # the next sample, counted at the source's rate
        self.silent = 0

    def _encoder(self, out: OutputContainer, codec: str) -> AudioStream:
        rate = self.form.sound_rate or self.rate
        if codec == "aac" and rate not in AAC_RATES:
            rate = AAC_RATES[-1]
        stream = cast(AudioStream, out.add_stream(codec, rate=rate, layout=self.layout))
        bits = AAC_BITS if self.source.channels > 1 else AAC_BITS // 2
        if codec == "aac":
            stream.bit_rate = bits
        if codec != self.codec or rate != self.rate:
            at = f" at {bits // 1000} kbit/s" if codec == "aac" else ""
            resampled = f", {self.rate} became {rate} Hz" if rate != self.rate else ""
            self.entry.action, self.entry.note = "converted", f"became {codec}{at}{resampled}"
        return stream

    def feed(self, packet: av.Packet[AudioStream]) -> Iterator[av.Packet[Any]]:
        """The packets made from one packet of the master."""
        if self.copied:
            self.entry.take(payload_of(packet, self.codec))
            packet.stream = self.target
            yield packet
            return
        for frame in packet.decode():
            yield from self._place(frame)

    def finish(self) -> Iterator[av.Packet[Any]]:
        """The last packets, with silence up to the end if the container needs it."""
        if self.copied:
            return
        if self.span is not None:
            end = -int(-(self.span[1] - self.span[0]) * self.rate // 1)
            yield from self._silence(end - (self.at or 0))
        yield from self._written(None)
        if self.silent:
            self.entry.action = "converted"
            added = f"{1000 * self.silent / self.rate:.0f} ms of silence where there was no sound"
            self.entry.note = f"{self.entry.note}, {added}".removeprefix(", ")

    def _place(self, frame: AudioFrame) -> Iterator[av.Packet[Any]]:
        due = self._due(frame)
        if self.at is None:
            self.at = due if self.span is None else 0
        if due - self.at > GAP_SECONDS * self.rate:
            yield from self._silence(due - self.at)
        samples = frame.to_ndarray()
        first, last = self._inside(frame.samples, due)
        if first < last:
            step = 1 if frame.format.is_planar else self.source.channels
            cut = np.ascontiguousarray(samples[:, first * step : last * step])
            yield from self._send(cut, frame.format.name)

    def _due(self, frame: AudioFrame) -> int:
        if frame.pts is None or frame.time_base is None:
            return self.at or 0
        begin = self.span[0] if self.span else Fraction(0)
        return round((frame.pts * frame.time_base - begin) * self.rate)

    def _inside(self, samples: int, due: int) -> tuple[int, int]:
        """First and last of a frame's samples that lie within the picture's span."""
        if self.span is None:
            return 0, samples
        assert self.at is not None
        end = -int(-(self.span[1] - self.span[0]) * self.rate // 1)
        first = min(samples, max(0, -due)) if self.at == 0 else 0
        last = max(first, min(samples, first + end - self.at))
        if last - first < samples:
            self.entry.action = "converted"
            self.entry.note = self.entry.note or "cut to the length of the picture"
        return first, last

    def _silence(self, samples: int) -> Iterator[av.Packet[Any]]:
        form = self.source.codec_context.format
        channels = self.source.channels
        while samples > 0:
            count = min(samples, self.rate)
            shape = (channels, count) if form.is_planar else (1, count * channels)
            kind = DTYPES[form.packed.name]
            yield from self._send(np.full(shape, 128 if kind == "u1" else 0, kind), form.name)
            samples -= count
            self.silent += count

    def _send(self, samples: np.ndarray[Any, Any], form: str) -> Iterator[av.Packet[Any]]:
        frame = AudioFrame.from_ndarray(samples, form, self.layout)
        frame.sample_rate, frame.time_base = self.rate, Fraction(1, self.rate)
        frame.pts = self.at or 0
        self.at = frame.pts + frame.samples
        yield from self._written(frame)

    def _written(self, frame: AudioFrame | None) -> Iterator[av.Packet[Any]]:
        for packet in self.target.encode(frame):
            self.entry.take(bytes(packet))
            yield packet
