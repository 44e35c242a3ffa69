"""Values that parent and child processes exchange: probes, frames, stream reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # (H, W) uint8 or uint16
Planes = tuple[Plane, ...]
Luma = NDArray[np.float32]  # (H, W), 0 to 255 for every bit depth
Luma8 = NDArray[np.uint8]  # (H, W)

FRACTION = re.compile(r"(-?\d{1,20})/(0*[1-9]\d{0,19})", re.ASCII)
UNIT = 256  # of the numbers of a display matrix
FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    Planes are (H, W) uint8 or uint16 in the order of the pixel format (gbrp: G, B, R). `crc32` is
    zlib's CRC-32 over the planes in order, little-endian.
    """

    index: int
    pts: int
    planes: Planes
    crc32: int


@dataclass(frozen=True)
class StreamHash:
    """SHA-256 over the packet payloads, in order, of one stream other than the picture."""

    index: int
    kind: str
    codec: str
    packets: int
    sha256: str
    start_seconds: float | None


@dataclass(frozen=True)
class CarriedStream:
    """One stream of the source in the output.

    `action` is kept, converted or dropped, and `note` the reason. `packets` and `sha256` describe
    what was written.
    """

    index: int
    kind: str
    codec: str
    action: str
    note: str
    packets: int
    sha256: str


@dataclass(frozen=True)
class AssemblyReport:
    """How an output was assembled.

    Every timestamp is `shift_ms` later than in the source, because Matroska has no timestamps below
    0. `tags` are the tags added to the source's own.
    """

    shift_ms: int
    streams: tuple[CarriedStream, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Probe:
    """What the container and the codec of a file declare.

    Colour values are code points of ITU-T H.273 (2: unspecified). `pix_fmt` is the planar,
    little-endian format of the delivered frames, `source_pix_fmt` the decoder's own format. `sar`
    is 1 if nothing is declared. `color_range`: 0 unspecified, 1 limited, 2 full. `display` holds a,
    b, c, d of the display matrix, which turns (x, y) into (ax + cy, bx + dy), in 1/256 and without
    its scale; empty if the picture is shown as it is. `reordered`: the file states timestamps in
    the order of decoding only, and `pts` are these in the order of presentation.
    """

    container: str
    codec: str
    width: int
    height: int
    pix_fmt: str
    source_pix_fmt: str
    bit_depth: int
    fps: Fraction
    time_base: Fraction
    sar: Fraction
    frames_declared: int | None
    start_pts: int | None
    duration_pts: int | None
    duration_seconds: float | None
    field_order: str
    color_range: int
    color_primaries: int
    color_trc: int
    colorspace: int
    rotation: int
    audio: tuple[str, ...]
    subtitles: tuple[str, ...]
    attachments: tuple[str, ...]
    data: tuple[str, ...]
    chapters: int
    timecode: str | None
    channels: tuple[int, ...] = ()  # one number per sound track
    display: tuple[int, ...] = ()
    reordered: bool = False

    def to_dict(self) -> dict[str, object]:
        """The probe as JSON values. A fraction becomes "num/den"."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """The inverse of `to_dict`. Raises KeyError or ValueError if the values are no probe."""
        known = [f for f in fields(cls) if f.name in values or f.default is MISSING]
        return cls(**{f.name: _typed(str(f.type), values[f.name]) for f in known})


def _fraction(text: str) -> Fraction:
    """The fraction of "num/den". Raises ValueError: `Fraction` would compute 1e999999999."""
    found = FRACTION.fullmatch(text)
    if found is None:
        raise ValueError(f"no fraction: {text[:40]!r}")
    return Fraction(int(found[1]), int(found[2]))


def _plain(value: object) -> object:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return list(value) if isinstance(value, tuple) else value


def _typed(kind: str, value: Any) -> Any:  # noqa: ANN401
    if value is None:
        if not kind.endswith("None"):
            raise ValueError(f"{kind} expected, got nothing")
        return None
    if kind.startswith("tuple"):
        return tuple(int(item) if "int" in kind else str(item) for item in value)
    types: dict[str, Any] = {
        "Fraction": _fraction, "int": int, "float": float, "str": str, "bool": bool,
    }  # fmt: skip
    return types[kind.split(" ")[0]](value)


def to_ms(pts: int, time_base: Fraction) -> int:
    """Convert a timestamp to milliseconds, Matroska's clock. Halves are rounded up."""
    return int((pts * time_base * 2000 + 1) // 2)
