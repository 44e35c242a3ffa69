"""Read packets of the streams other than the picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import av
from av.container import InputContainer
from av.stream import Stream

from pipeline.media.child.probe import main_video, open_source
from pipeline.media.child.runtime import Output, limit_self
from pipeline.media.wire import ALIVE, END, PACKETS_PER_ALIVE, MuxRequest
from schemas.errors import ClipFault
from schemas.recipe import Limits


@dataclass
class Carried:
    """One stream of the source other than the picture, and how it is written."""

    index: int
    kind: str
    codec: str
    action: str
    note: str = ""
    packets: int = 0
    digest: Any = field(default_factory=hashlib.sha256, repr=False)
    target: Stream | None = None
    delay_ns: int = 0

    def take(self, payload: bytes) -> None:
        """Count and hash a payload."""
        self.packets += 1
        self.digest.update(payload)

    def to_dict(self) -> dict[str, object]:
        """The values of `pipeline.clip.frames.CarriedStream`."""
        names = ("index", "kind", "codec", "action", "note", "packets")
        return {name: getattr(self, name) for name in names} | {"sha256": self.digest.hexdigest()}


def payload_of(packet: av.Packet[Any], codec: str) -> bytes:
    """A packet's payload, without what depends on the container only.

    That is the header of AAC in transport streams, and the empty samples between MP4 texts.
    """
    payload = bytes(packet)
    if codec == "mov_text" and not any(payload):
        return b""
    if (
        codec in ("aac", "aac_fixed")
        and len(payload) > 7
        and payload[0] == 0xFF
        and payload[1] >> 4 == 15
    ):
        return payload[7 if payload[1] & 1 else 9 :]
    return payload


def codec_name(stream: Stream) -> str:
    """The name of the stream's codec, or `unknown`."""
    return stream.codec_context.name if stream.codec_context is not None else "unknown"


def hash_streams(request: MuxRequest, output: Output) -> None:
    """Send the hash of every stream but the main picture."""
    limits = Limits(**request["limits"])
    limit_self(limits)
    container = open_source(request["path"], limits)
    streams = others(container)
    hashes = {
        stream.index: Carried(stream.index, stream.type, codec_name(stream), "read")
        for stream in streams
    }
    starts: dict[int, float] = {}
    for stream in streams:
        if stream.type == "attachment":
            hashes[stream.index].take(cast(Any, stream).data)
    for number, packet in enumerate(read_packets(container, streams)):
        entry = hashes[packet.stream_index]
        if packet.pts is not None:
            starts.setdefault(entry.index, float(packet.pts * packet.time_base))
        entry.take(payload_of(packet, entry.codec))
        if number % PACKETS_PER_ALIVE == 0:
            output.send_json(ALIVE, {})
    rows = [
        entry.to_dict() | {"start_seconds": starts.get(entry.index)} for entry in hashes.values()
    ]
    output.send_json(END, {"streams": rows})


def others(container: InputContainer) -> list[Stream]:
    """Every stream but the main picture."""
    try:
        main = main_video(container).index
    except ClipFault:
        main = -1
    return [stream for stream in container.streams if stream.index != main]


def read_packets(container: InputContainer, wanted: Sequence[Stream]) -> Iterator[av.Packet[Any]]:
    """Packets with content of the wanted streams, in file order. Other streams are not read."""
    kept = {stream.index for stream in wanted if stream.type != "attachment"}
    for stream in container.streams:
        if stream.index not in kept:
            stream.discard = av.stream.Discard.all
    if not kept:
        return
    for packet in container.demux([stream for stream in container.streams if stream.index in kept]):
        if packet.size:
            yield packet


def plain_text(packet: av.Packet[Any]) -> av.Packet[Any] | None:
    """The text of an MP4 text sample (3GPP TS 26.245: length, text, styles). None if empty."""
    payload = bytes(packet)
    text = payload[2 : 2 + int.from_bytes(payload[:2], "big")]
    if text.startswith((b"\xfe\xff", b"\xff\xfe")):
        text = text.decode("utf-16", errors="replace").encode()
    if not text:
        return None
    carried: av.Packet[Any] = av.Packet(text)
    carried.pts, carried.dts, carried.duration = packet.pts, packet.dts, packet.duration
    carried.time_base = packet.time_base
    return carried
