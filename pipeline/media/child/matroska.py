"""Write the aspect and an audio delay into a Matroska header: libav's muxer has no option for them.

The muxer first writes a placeholder in the right place and of the right length: a projection in the
video track, a long name in another track. The placeholder is overwritten in place, so no other
element moves, and the checksum of the header is renewed. Element numbers: RFC 8794 and RFC 9559.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
NAME, PROJECTION, CRC32, VOID = 0x536E, 0x7670, 0xBF, 0xEC
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
CODEC_DELAY = 0x56AA
YAW, ROLL = 0x7673, 0x7675  # of a projection, in degrees
UNIT_PIXELS, UNIT_RATIO = 0, 3
HEADER_BYTES = 1 << 20
LARGEST = 0xFFFF
# Appended to the name of a track that a delay will be written into.
PLACEHOLDER = "#" * 16


class Element(NamedTuple):
    """An element of a header in memory. Offsets: its start, its content, and the end."""

    number: int
    start: int
    content: int
    stop: int


def elements(header: bytes | bytearray, start: int, stop: int) -> Iterator[Element]:
    """The elements between two offsets that begin inside the header."""
    while start < min(stop, len(header) - 12):
        number, content = _number(header, start, keep_marker=True)
        size, content = _number(header, content, keep_marker=False)
        end = min(content + size, stop)
        yield Element(number, start, content, end)
        start = end


def patch_header(
    path: Path,
    aspect: tuple[int, int, Fraction] | None,
    delays: dict[int, tuple[str, int]],
    turned: Sequence[int] = (),
) -> None:
    """Write the aspect (width, height, sample aspect) and the delays into a file's header.

    `delays`: {track index: (track name, nanoseconds)}. `turned`: a, b, c, d of the display matrix,
    which is written beside the aspect. Raises ValueError if a placeholder is missing or too short.
    """
    with path.open("r+b") as stream:
        header = bytearray(stream.read(HEADER_BYTES))
        tracks = _tracks(header)
        found = [
            item for item in elements(header, tracks.content, tracks.stop) if item.number == TRACK
        ]
        if aspect is not None:
            video = _child(header, found[0], VIDEO)
            size, unit = display_size(*aspect)
            declared = _child(header, video, DISPLAY_UNIT)
            header[declared.content : declared.stop] = unit.to_bytes(
                declared.stop - declared.content, "big"
            )
            _overwrite(header, _child(header, video, PROJECTION), size + projection(turned))
        for index, (name, delay_ns) in delays.items():
            content = _encoded(CODEC_DELAY, delay_ns.to_bytes(4, "big"))
            if name:
                content += _encoded(NAME, name.encode())
            _overwrite(header, _child(header, found[index], NAME), content)
        _renew_checksum(header, tracks)
        stream.seek(tracks.start)
        stream.write(header[tracks.start : tracks.stop])


def display_size(width: int, height: int, sar: Fraction) -> tuple[bytes, int]:
    """Display size elements and their unit: whole pixels if possible, otherwise a ratio."""
    shown = width * sar
    if shown.denominator == 1 and shown <= LARGEST:
        pair, unit = (int(shown), height), UNIT_PIXELS
    else:
        ratio = Fraction(width * sar.numerator, height * sar.denominator)
        ratio = ratio if max(ratio.as_integer_ratio()) <= LARGEST else _nearest(ratio)
        pair, unit = ratio.as_integer_ratio(), UNIT_RATIO
    content = _encoded(DISPLAY_WIDTH, pair[0].to_bytes(2, "big"))
    content += _encoded(DISPLAY_HEIGHT, pair[1].to_bytes(2, "big"))
    return content, unit


def projection(turned: Sequence[int]) -> bytes:
    """The projection for a, b, c, d of a display matrix: mirrored first (yaw), then turned (roll).

    Empty without any. The numbers have 4 bytes, half as many as libav gives them.
    """
    if not turned:
        return b""
    a, b, c, d = turned
    mirrored = a * d < b * c
    roll = math.degrees(math.atan2(b, -a) if mirrored else math.atan2(-b, a))
    yaw = 180.0 if mirrored else 0.0
    poses = ((YAW, yaw), (ROLL, roll))
    content = b"".join(_encoded(n, struct.pack(">f", angle)) for n, angle in poses if angle)
    return _encoded(PROJECTION, content)


def _nearest(ratio: Fraction) -> Fraction:
    if ratio > 1:
        return 1 / (1 / ratio).limit_denominator(LARGEST)
    return ratio.limit_denominator(LARGEST)


def _number(data: bytes | bytearray, start: int, keep_marker: bool) -> tuple[int, int]:
    """(value, next offset) of a variable-length number."""
    length = 9 - data[start].bit_length()
    value = int.from_bytes(data[start : start + length], "big")
    return value if keep_marker else value & ((1 << (7 * length)) - 1), start + length


def _encoded(number: int, content: bytes) -> bytes:
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    size = len(content)
    coded = (0x4000 | size).to_bytes(2, "big") if size > 126 else bytes([0x80 | size])
    return name + coded + content


def _tracks(header: bytearray) -> Element:
    for top in elements(header, 0, len(header)):
        if top.number == SEGMENT:
            for item in elements(header, top.content, len(header)):
                if item.number == TRACKS:
                    return item
    raise ValueError(f"no tracks in the first {HEADER_BYTES} bytes of the file")


def _child(header: bytearray, parent: Element, number: int) -> Element:
    for item in elements(header, parent.content, parent.stop):
        if item.number == number:
            return item
    raise ValueError(f"no element {number:X} to overwrite")


def _overwrite(header: bytearray, old: Element, content: bytes) -> None:
    """Replace an element with others and a void. Raises ValueError if they do not fit."""
    spare = old.stop - old.start - len(content)
    if spare < 0 or spare == 1:
        raise ValueError(f"{len(content)} bytes do not fit in {old.stop - old.start}")
    if spare:
        size_bytes = 1 if spare < 128 else 2
        void = bytes(spare - 1 - size_bytes)
        size = len(void) | (0x80 if size_bytes == 1 else 0x4000)
        content += bytes([VOID]) + size.to_bytes(size_bytes, "big") + void
    header[old.start : old.stop] = content


def _renew_checksum(header: bytearray, parent: Element) -> None:
    first = next(elements(header, parent.content, parent.stop))
    if first.number == CRC32:
        checksum = zlib.crc32(header[first.stop : parent.stop])
        header[first.content : first.stop] = checksum.to_bytes(4, "little")
