"""The conversion of `models.colour` by tensors, where the network is.

Planes go up as they are, of 8 or 16 bits, and come back as they are. Nothing here waits for the
device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.colour import PixelFormat, Plane
from models.frame_state import Decoded, FrameState
from models.transfer import begun_up

WIDE = 0xFFFF  # the bits of a sample of 16 bits, which is a negative int16 from half on


def raised(planes: tuple[Plane, ...], device: torch.device) -> list[Tensor]:
    """Planes (h, w) float32 in code values on the device."""
    return _begun(planes, device)()


def _begun(planes: tuple[Plane, ...], device: torch.device) -> Callable[[], list[Tensor]]:
    """Begin to raise planes."""
    going = [begun_up(_signed(plane), device) for plane in planes]
    return lambda: [_samples(ready()) for ready in going]


def _signed(plane: Plane) -> Plane:
    """A plane as bytes, or as signed samples: few operations of PyTorch know others."""
    return plane if plane.dtype == np.uint8 else plane.view(np.int16)


def _samples(plane: Tensor) -> Tensor:
    if plane.dtype == torch.uint8:
        return plane.float()
    return (plane.int() & WIDE).float()


def lowered(planes: list[Tensor], depth: int) -> list[Tensor]:
    """Planes of whole code values as bytes, or as samples of 16 bits; see `as_planes`."""
    if depth == 8:
        return [plane.to(torch.uint8) for plane in planes]
    return [plane.int().to(torch.int16) for plane in planes]  # the upper half becomes negative


def as_planes(planes: list[Tensor]) -> list[Plane]:
    """Planes that came to the CPU, uint8 or uint16."""
    arrays = [plane.numpy() for plane in planes]
    return [one if one.dtype == np.uint8 else one.view(np.uint16) for one in arrays]


def picture(decoded: Decoded, device: torch.device) -> Callable[[], Tensor]:
    """Begin to send decoded planes; what comes back is their picture (3, H, W) on the device."""
    ready = _begun(decoded.planes, device)
    return lambda: to_rgb(decoded.pixels, ready())


def to_land(decoded: Decoded, image: Tensor) -> list[Tensor]:
    """The planes with the change to a picture (3, H, W), and its sum, which no sum of numbers
    that are none can be.
    """
    planes, pixels = raised(decoded.planes, image.device), decoded.pixels
    change = decoded.strength * (image - to_rgb(pixels, planes))
    made = applied(pixels, planes, change, decoded.monochrome)
    return [image.sum(), *lowered(made, pixels.depth)]


def with_planes(frame: FrameState, decoded: Decoded, found: Sequence[Tensor]) -> FrameState:
    """The frame with what was landed. Planes that do not change are those of the source."""
    total, *planes = found
    if not bool(total.isfinite()):
        return replace(frame, planes=decoded.planes, finite=False)
    return replace(frame, planes=(*as_planes(planes), *decoded.planes[len(planes) :]))


def to_rgb(pixels: PixelFormat, planes: list[Tensor]) -> Tensor:
    """RGB (3, H, W) of planes in code values; see `PixelFormat.to_rgb`."""
    offset, span = pixels.luma_scale
    y = (planes[0] - offset) / span
    if pixels.family == "gray":
        return torch.stack([y, y, y])
    if pixels.family == "gbr":
        b, r = ((plane - offset) / span for plane in planes[1:3])
        return torch.stack([r, y, b])
    middle, reach = pixels.chroma_scale
    chroma = (torch.stack(planes[1:3]) - middle) / reach
    if chroma.shape[-2:] != y.shape:
        size = tuple(y.shape)
        chroma = F.interpolate(chroma[None], size, mode="bilinear", align_corners=False)[0]
    u, v = chroma.unbind(0)
    kg = 1 - pixels.kr - pixels.kb
    r = y + 2 * (1 - pixels.kr) * v
    b = y + 2 * (1 - pixels.kb) * u
    return torch.stack([r, (y - pixels.kr * r - pixels.kb * b) / kg, b])


def applied(
    pixels: PixelFormat, planes: list[Tensor], change: Tensor, monochrome: bool
) -> list[Tensor]:
    """The planes of the picture plus a change (3, H, W), in whole code values."""
    deltas = _deltas(pixels, change, planes, monochrome)
    most = (1 << pixels.depth) - 1
    return [
        (plane + delta).round().clamp(0, most) for plane, delta in zip(planes, deltas, strict=False)
    ]


def _deltas(
    pixels: PixelFormat, change: Tensor, planes: list[Tensor], monochrome: bool
) -> list[Tensor]:
    _, span = pixels.luma_scale
    r, g, b = change.unbind(0)
    if pixels.family == "gbr":
        return [g * span, b * span, r * span]
    kr, kb = pixels.kr, pixels.kb
    y = kr * r + (1 - kr - kb) * g + kb * b
    if pixels.family == "gray" or monochrome:
        return [y * span]
    _, reach = pixels.chroma_scale
    chroma = torch.stack([(b - y) * (reach / (2 * (1 - kb))), (r - y) * (reach / (2 * (1 - kr)))])
    return [y * span, *shrunk(chroma, *planes[1].shape).unbind(0)]


def shrunk(planes: Tensor, height: int, width: int) -> Tensor:
    """Planes (N, H, W) at a smaller size: means of areas, as OpenCV's INTER_AREA takes them."""
    rows, columns = planes.shape[-2:]
    if rows % height == 0 and columns % width == 0:
        return F.avg_pool2d(planes[None], (rows // height, columns // width))[0]
    down, across = _areas(rows, height, planes.device), _areas(columns, width, planes.device)
    return down @ planes @ across.T


@lru_cache(maxsize=32)
def _areas(length: int, parts: int, device: torch.device) -> Tensor:
    """The share of each pixel in each of the parts of a line, (parts, length)."""
    at = torch.arange(length, dtype=torch.float64)
    ends = torch.arange(parts + 1, dtype=torch.float64)[:, None] * (length / parts)
    covered = torch.minimum(at + 1, ends[1:]) - torch.maximum(at, ends[:-1])
    return (covered.clamp_min(0) * (parts / length)).float().to(device)
