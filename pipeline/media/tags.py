"""Metadata of streams: tags as text, and the picture properties of an encoder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

from pipeline.clip.frames import FIELD_ORDERS, Probe

# Tags that describe the source's container or its size, not the work.
CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "duration", "bps")
STALE_TAGS = ("number_of_", "_statistics", "bps-", "duration-")


class EncoderContext(Protocol):
    """The picture properties of an encoder, such as `av.VideoCodecContext`."""

    width: int
    height: int
    pix_fmt: str | None
    framerate: Fraction
    time_base: Fraction
    sample_aspect_ratio: Fraction | None
    field_order: int
    color_range: int
    color_primaries: int
    color_trc: int
    colorspace: int


def texts(metadata: dict[str, str], keep_all: bool = False) -> dict[str, str]:
    """Tags as valid text, without tags about the container. Bytes other than UTF-8 are Latin-1."""
    result: dict[str, str] = {}
    for name, value in metadata.items():
        lower = name.lower()
        if not keep_all and (lower in CONTAINER_TAGS or lower.startswith(STALE_TAGS)):
            continue
        text = valid_text(value)
        renamed = lower == "encoder" and not keep_all
        result |= beside({"SOURCE_ENCODER": text}, metadata) if renamed else {name: text}
    return result


def beside(own: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """`own` tags under names that `others` do not use.

    If a name is taken, all names get the suffix `_2`, or the next number. Matroska writes names in
    capitals with underscores, so names that differ only in these are equal.
    """
    taken = {name.upper().replace(" ", "_") for name in others}
    for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
        named = {name + suffix: value for name, value in own.items()}
        if taken.isdisjoint(named):
            return named
    raise AssertionError("unreachable")


def valid_text(value: str) -> str:
    """The text, with undecodable bytes (surrogates) read as Latin-1."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="surrogateescape").decode("latin-1")
    return value


def describe_picture(context: EncoderContext, probe: Probe) -> None:
    """Set size, format, aspect, field order and colour of an encoder from a probe."""
    context.width, context.height = probe.width, probe.height
    context.pix_fmt = coded_format(probe.pix_fmt)
    context.framerate, context.time_base = probe.fps, 1 / probe.fps
    context.sample_aspect_ratio = probe.sar
    context.field_order = FIELD_ORDERS.index(probe.field_order)
    context.color_range, context.colorspace = probe.color_range, probe.colorspace
    context.color_primaries, context.color_trc = probe.color_primaries, probe.color_trc


def coded_format(pix_fmt: str) -> str:
    """The pixel format in which FFV1 codes a planar format: 8-bit RGB is packed."""
    return "bgr0" if pix_fmt == "gbrp" else pix_fmt
