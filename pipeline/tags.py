"""What is said about a stream beside its samples: an encoder's picture tags, and the texts of a container."""

from __future__ import annotations

from typing import Any

from pipeline.frames import FIELD_ORDERS, Probe

# Tags that describe the source's container or its old size, not the work.
CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "duration", "bps")
STALE_TAGS = ("number_of_", "_statistics", "bps-", "duration-")


def texts(metadata: dict[str, str], keep_all: bool = False) -> dict[str, str]:
    """Tags as valid text (bytes that are no UTF-8 are read as Latin-1), without those of the old container."""
    result = {}
    for name, value in metadata.items():
        lower = name.lower()
        if not keep_all and (lower in CONTAINER_TAGS or lower.startswith(STALE_TAGS)):
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode(errors="surrogateescape").decode("latin-1")
        result["SOURCE_ENCODER" if lower == "encoder" and not keep_all else name] = value
    return result


def describe_picture(context: Any, probe: Probe) -> None:
    """Sets size, format, aspect, field order and colour tags of an encoder from a probe."""
    context.width, context.height = probe.width, probe.height
    context.pix_fmt = coded_format(probe.pix_fmt)
    context.framerate, context.time_base = probe.fps, 1 / probe.fps
    context.sample_aspect_ratio = probe.sar
    context.field_order = FIELD_ORDERS.index(probe.field_order)
    context.color_range, context.colorspace = probe.color_range, probe.colorspace
    context.color_primaries, context.color_trc = probe.color_primaries, probe.color_trc


def coded_format(pix_fmt: str) -> str:
    """The pixel format FFV1 codes a planar format as: 8-bit RGB is packed there."""
    return "bgr0" if pix_fmt == "gbrp" else pix_fmt
