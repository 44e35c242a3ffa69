"""Conversion between a clip's own planes and the model's RGB, exact where nothing changes.

The model's change returns as a difference in the source's own planes. So a frame without a change
keeps every code value, for any subsampling, depth, matrix and range.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.generic]  # (h, w) uint8 or uint16
Image = NDArray[np.float32]  # (H, W, 3) RGB, nominally [0, 1]
Channel = NDArray[np.float32]  # (H, W)

# Kr, Kb by MatrixCoefficients code point (ITU-T H.273 table 4)
MATRICES = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601 625 lines
    6: (0.299, 0.114),  # BT.601 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),  # BT.2020, constant luminance (approximated)
}
FULL_RANGE = 2  # libav's code for full range


@dataclass(frozen=True)
class PixelFormat:
    """How to read planes as colour."""

    family: str  # "gray", "yuv" or "gbr"
    depth: int  # bits
    kr: float  # of the matrix, with kb
    kb: float
    full_range: bool

    @classmethod
    def of(
        cls, pix_fmt: str, depth: int, matrix: int, color_range: int, height: int
    ) -> PixelFormat:
        """The format from a probe's values.

        An untagged matrix counts as BT.601 below 720 lines, else as BT.709.
        """
        family = (
            "gbr" if pix_fmt.startswith("gbr") else "gray" if pix_fmt.startswith("gray") else "yuv"
        )
        kr, kb = MATRICES.get(matrix, MATRICES[1 if height >= 720 else 6])
        full = (family != "yuv" and color_range != 1) or color_range == FULL_RANGE
        return cls(family, depth, kr, kb, full)

    @property
    def luma_scale(self) -> tuple[float, float]:
        """Offset and span of luma in code values (H.273 equations 23-25)."""
        unit = 1 << (self.depth - 8)
        return (0.0, (1 << self.depth) - 1.0) if self.full_range else (16.0 * unit, 219.0 * unit)

    @property
    def chroma_scale(self) -> tuple[float, float]:
        unit = 1 << (self.depth - 8)
        return 128.0 * unit, ((1 << self.depth) - 1.0 if self.full_range else 224.0 * unit)

    def to_rgb(self, planes: tuple[Plane, ...]) -> Image:
        """RGB (H, W, 3) float32 of the planes, not clipped; chroma is interpolated bilinearly."""
        offset, span = self.luma_scale
        y = (planes[0].astype(np.float32) - offset) / span
        if self.family == "gray":
            return merged(y, y, y)
        if self.family == "gbr":
            b, r = ((plane.astype(np.float32) - offset) / span for plane in planes[1:3])
            return merged(r, y, b)
        middle, reach = self.chroma_scale
        u, v = ((plane.astype(np.float32) - middle) / reach for plane in planes[1:3])
        if u.shape != y.shape:
            size = y.shape[::-1]
            u, v = (cv2.resize(c, size, interpolation=cv2.INTER_LINEAR) for c in (u, v))
        kg = 1 - self.kr - self.kb
        r = y + 2 * (1 - self.kr) * v
        b = y + 2 * (1 - self.kb) * u
        return merged(r, (y - self.kr * r - self.kb * b) / kg, b)

    def to_rgb8(self, planes: tuple[Plane, ...]) -> NDArray[np.uint8]:
        """RGB (H, W, 3) uint8 of the planes, to be looked at: a few times as fast as `to_rgb`.

        A value may differ by 2, since chroma is rounded before the matrix.
        """
        offset, span = self.luma_scale
        gain = 255 / span
        if self.family != "yuv":
            order = (2, 0, 1) if self.family == "gbr" else (0, 0, 0)
            found = cv2.merge([planes[n] for n in order])
            weights = np.hstack([np.eye(3) * gain, np.full((3, 1), -offset * gain)])
        else:
            size = planes[0].shape[::-1]
            chroma = [p if p.shape == planes[0].shape else cv2.resize(p, size) for p in planes[1:3]]
            found = cv2.merge([planes[0], *chroma])
            middle, reach = self.chroma_scale
            kg = 1 - self.kr - self.kb
            red, blue = 2 * (1 - self.kr), 2 * (1 - self.kb)
            mix = np.array([[0, red], [-self.kb * blue / kg, -self.kr * red / kg], [blue, 0]]) * (
                255 / reach
            )
            base = -offset * gain - middle * mix.sum(axis=1, keepdims=True)
            weights = np.hstack([np.full((3, 1), gain), mix, base])
        if found.dtype != np.uint8:
            found = found.astype(np.float32)
        shown = cv2.transform(found, weights)
        if shown.dtype != np.uint8:
            shown = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
        return shown

    def apply(
        self,
        planes: tuple[Plane, ...],
        before: Image,
        after: Image,
        strength: float = 1.0,
        monochrome: bool = False,
    ) -> tuple[Plane, ...]:
        """The planes plus ``strength`` times the change from ``before`` to ``after``.

        With ``monochrome`` chroma does not change. Planes that are not colour (alpha) never do.
        """
        change = (after - before) * np.float32(strength)
        deltas = self._deltas(change, planes, monochrome)
        moved = [
            _add(plane, delta, self.depth) for plane, delta in zip(planes, deltas, strict=False)
        ]
        return (*moved, *planes[len(moved) :])

    def _deltas(
        self, change: Image, planes: tuple[Plane, ...], monochrome: bool
    ) -> list[NDArray[np.float32]]:
        _, span = self.luma_scale
        if self.family == "gbr":
            r, g, b = cv2.split(change)
            return [g * span, b * span, r * span]
        kg = 1 - self.kr - self.kb
        r, g, b = cv2.split(change)
        y = self.kr * r + kg * g + self.kb * b
        if self.family == "gray" or monochrome:
            return [y * span]
        _, reach = self.chroma_scale
        chroma = [(b - y) * (reach / (2 * (1 - self.kb))), (r - y) * (reach / (2 * (1 - self.kr)))]
        size = planes[1].shape[::-1]
        if planes[1].shape != y.shape:
            chroma = [cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in chroma]
        return [y * span, *chroma]


def merged(r: Channel, g: Channel, b: Channel) -> Image:
    image: Image = cv2.merge([r, g, b])
    return image


def _add(plane: Plane, delta: NDArray[np.float32], depth: int) -> Plane:
    moved = np.rint(plane.astype(np.float32) + delta)
    result: Plane = np.clip(moved, 0, (1 << depth) - 1).astype(plane.dtype)
    return result
