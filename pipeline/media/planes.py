"""Planar pixel formats: their planes, and how to convert other formats to planes without loss."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Plane, Planes
from schemas.errors import ClipFault
from schemas.reasons import Reason

# Chroma subsampling of the planar families, as (horizontal, vertical) divisors.
SUBSAMPLING = {
    "410": (4, 4),
    "411": (4, 1),
    "420": (2, 2),
    "422": (2, 1),
    "440": (1, 2),
    "444": (1, 1),
}
DEPTHS = (8, 9, 10, 12, 14, 16)
PLANAR = re.compile(
    rf"(?:(gray)|(gbrp)|yuv({'|'.join(SUBSAMPLING)})p)({'|'.join(map(str, DEPTHS[1:]))})?(le)?"
)
# Refused formats, by parts of their names: no plane can hold the samples, or the model cannot read
# them.
REFUSED = {
    "an alpha channel": (
        "yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya8", "ya16", "yaf", "ayuv", "vuya",
    ),
    "a palette": ("pal8",),
    "floating-point samples": ("f16", "f32"),
    "a Bayer mosaic": ("bayer",),
    "less than 8 bits a sample": (
        "rgb4", "bgr4", "rgb8", "bgr8", "rgb555", "bgr555", "rgb565", "bgr565", "monob", "monow",
    ),
    "XYZ colour": ("xyz",),
}  # fmt: skip


class PlaneLayout(NamedTuple):
    """The planes of a picture: shapes (rows, columns), sample type, bits per sample."""

    shapes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]
    bits: int

    @property
    def size_bytes(self) -> int:
        return sum(rows * columns for rows, columns in self.shapes) * self.dtype.itemsize


def plane_layout(pix_fmt: str, width: int, height: int) -> PlaneLayout:
    """The planes of a planar format at a size. Raises `ClipFault(UNSUPPORTED_FORMAT)`."""
    match = PLANAR.fullmatch(pix_fmt)
    if match is None:
        raise ClipFault(
            Reason.UNSUPPORTED_FORMAT, f"pixel format {pix_fmt} cannot be carried without loss"
        )
    gray, gbrp, subsampling, depth, _ = match.groups()
    bits = int(depth or 8)
    right, down = SUBSAMPLING[subsampling] if subsampling else (1, 1)
    chroma = (-(-height // down), -(-width // right))
    shapes = ((height, width),) if gray else ((height, width), chroma, chroma)
    if gbrp:
        shapes = ((height, width),) * 3
    return PlaneLayout(shapes, np.dtype("<u2" if bits > 8 else "u1"), bits)


def chroma_steps(pix_fmt: str) -> tuple[int, int]:
    """Luma samples for one chroma sample of a planar format: across, and down."""
    match = PLANAR.fullmatch(pix_fmt)
    subsampling = match[3] if match else None
    return SUBSAMPLING[subsampling] if subsampling else (1, 1)


def split_planes(payload: bytearray | bytes, layout: PlaneLayout, offset: int = 0) -> Planes:
    """Planes as views of a payload from `offset` on. Raises ValueError if the size is wrong."""
    if len(payload) - offset != layout.size_bytes:
        raise ValueError(f"{len(payload) - offset} bytes for a picture of {layout.size_bytes}")
    planes = []
    for rows, columns in layout.shapes:
        plane = np.frombuffer(payload, layout.dtype, rows * columns, offset).reshape(rows, columns)
        planes.append(plane)
        offset += plane.nbytes
    return tuple(planes)


class Component(NamedTuple):
    """Where one colour component lies in a picture.

    `step` is the distance between two samples, and `shift` the number of unused low bits.
    """

    plane: int
    offset: int
    step: int
    shift: int = 0


def _semi_planar(shift: int = 0, swapped: bool = False) -> tuple[Component, ...]:
    first = int(swapped)
    chroma = (Component(1, first, 2, shift), Component(1, 1 - first, 2, shift))
    return (Component(0, 0, 1, shift), *chroma)


def _packed(step: int, *offsets: int, shift: int = 0) -> tuple[Component, ...]:
    return tuple(Component(0, offset, step, shift) for offset in offsets)


def _packed_422(y: int, u: int, v: int, shift: int = 0) -> tuple[Component, ...]:
    return (Component(0, y, 2, shift), Component(0, u, 4, shift), Component(0, v, 4, shift))


# Formats that hold the samples of a planar format in another order: (planar format, components in
# the order of its planes).
RELAID: dict[str, tuple[str, tuple[Component, ...]]] = {
    "nv12": ("yuv420p", _semi_planar()),
    "nv21": ("yuv420p", _semi_planar(swapped=True)),
    "nv16": ("yuv422p", _semi_planar()),
    "nv24": ("yuv444p", _semi_planar()),
    "nv42": ("yuv444p", _semi_planar(swapped=True)),
    "nv20le": ("yuv422p10le", _semi_planar()),
    "yuyv422": ("yuv422p", _packed_422(0, 1, 3)),
    "yvyu422": ("yuv422p", _packed_422(0, 3, 1)),
    "uyvy422": ("yuv422p", _packed_422(1, 0, 2)),
    "y210le": ("yuv422p10le", _packed_422(0, 1, 3, shift=6)),
    "y212le": ("yuv422p12le", _packed_422(0, 1, 3, shift=4)),
    "rgb24": ("gbrp", _packed(3, 1, 2, 0)),
    "bgr24": ("gbrp", _packed(3, 1, 0, 2)),
    "rgb0": ("gbrp", _packed(4, 1, 2, 0)),
    "bgr0": ("gbrp", _packed(4, 1, 0, 2)),
    "0rgb": ("gbrp", _packed(4, 2, 3, 1)),
    "0bgr": ("gbrp", _packed(4, 2, 1, 3)),
    "rgb48le": ("gbrp16le", _packed(3, 1, 2, 0)),
    "bgr48le": ("gbrp16le", _packed(3, 1, 0, 2)),
    **{
        f"p{code}{depth}le": (f"yuv{chroma}p{depth}le", _semi_planar(shift=16 - depth))
        for code, chroma in (("0", "420"), ("2", "422"), ("4", "444"))
        for depth in (10, 12, 16)
    },
}


class DecodedPicture(Protocol):
    """A decoded picture, such as `av.VideoFrame`."""

    @property
    def planes(self) -> Sequence[Any]: ...


class Source(NamedTuple):
    """How to extract planes from the decoder's pictures."""

    components: tuple[Component, ...]
    big_endian: bool
    shapes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]


def planar_format(name: str) -> tuple[str, tuple[Component, ...], bool]:
    """(planar little-endian format, its components in `name`, whether `name` is big-endian).

    Raises `ClipFault(UNSUPPORTED_FORMAT)` if no planar format holds the samples without loss.
    """
    little = name.removesuffix("be") + "le" if name.endswith("be") else name
    little = little.replace("yuvj", "yuv")
    if little in RELAID:
        planar, components = RELAID[little]
        return planar, components, name.endswith("be")
    if PLANAR.fullmatch(little) is None:
        whys = [why for why, parts in REFUSED.items() if any(part in name for part in parts)]
        why = whys[0] if whys else "samples that no planar format holds without loss"
        raise ClipFault(Reason.UNSUPPORTED_FORMAT, f"pixel format {name} has {why}")
    count = 1 if little.startswith("gray") else 3
    return little, tuple(Component(plane, 0, 1) for plane in range(count)), name.endswith("be")


def extract_planes(frame: DecodedPicture, source: Source) -> list[Plane]:
    """The picture as contiguous little-endian planes of the planar format."""
    raw = []
    kind = source.dtype.newbyteorder(">") if source.big_endian else source.dtype
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size))
        rows = rows[::-1] if plane.line_size < 0 else rows
        usable = rows.shape[1] - rows.shape[1] % kind.itemsize
        raw.append(rows[:, :usable].view(kind))
    planes = []
    for component, (height, width) in zip(source.components, source.shapes, strict=True):
        stop = component.offset + (width - 1) * component.step + 1
        samples = raw[component.plane][:height, component.offset : stop : component.step]
        samples = samples >> component.shift if component.shift else samples
        planes.append(np.ascontiguousarray(samples, source.dtype))
    return planes


class Overlay(NamedTuple):
    """A small grey picture to lay over a larger one, with its top left corner at `x`, `y`.

    `cover` and `ink` are (H, W) uint8. `cover`: how much of the picture is hidden, 0 to 255. `ink`:
    from black, 0, to white, 255. All numbers and sizes are multiples of four, so that they cut no
    chroma sample, in a field neither.
    """

    x: int
    y: int
    cover: NDArray[np.uint8]
    ink: NDArray[np.uint8]

    def plain(self) -> dict[str, object]:
        """The overlay as JSON values. `of` is the inverse."""
        texts = [base64.b64encode(part.tobytes()).decode() for part in (self.cover, self.ink)]
        return {"x": self.x, "y": self.y, "width": self.cover.shape[1],
                "cover": texts[0], "ink": texts[1]}  # fmt: skip

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        cover, ink = (
            np.frombuffer(base64.b64decode(plain[name]), np.uint8).reshape(-1, plain["width"])
            for name in ("cover", "ink")
        )
        return cls(plain["x"], plain["y"], cover, ink)

    def field(self, parity: int) -> Overlay:
        """What of it lies in the lines of one field."""
        return Overlay(self.x, self.y // 2, self.cover[parity::2], self.ink[parity::2])

    def over(self, plane: Plane, *, chroma: bool, steps: tuple[int, int] = (1, 1)) -> Plane:
        """A copy of an 8-bit plane, limited range, with the overlay: neutral in chroma.

        `steps` are those of chroma, across and down.
        """
        (across, down), new = steps, plane.copy()
        cover = self.cover.astype(np.float32) / 255
        rows, columns = cover.shape[0] // down, cover.shape[1] // across
        cover = cover.reshape(rows, down, columns, across).mean(axis=(1, 3))
        colour = 128.0 if chroma else 16 + self.ink.astype(np.float32) * (219 / 255)
        y, x = self.y // down, self.x // across
        part = new[y : y + rows, x : x + columns]
        mixed = part * (1 - cover) + colour * cover
        part[:] = mixed if new.dtype.kind == "f" else np.rint(mixed)
        return new
