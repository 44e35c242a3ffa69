"""A frame beside its neighbours, as `models.fidelity.compared` means it, by tensors of a device.

What comes to the CPU are planes of 8 and 16 bits. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.compared import BLUR, DISPLACED, EXPOSURE_SIGMA, EXPOSURE_STEP, Landed
from models.motion.tensors import SIGMAS, blurred, shrunk

OTHERS = "beyond 7", "beyond 15", "apart", "slope", "removed", "change"  # planes, in order


class Beside(NamedTuple):
    """The planes of a frame (N, H, W) that come to the CPU, and what stays where they are."""

    lumas: Tensor  # uint8: the frame's and its neighbours'
    planes: Tensor  # float16: differences from both, what stands out, then OTHERS
    lighter: Tensor  # float32 (H, W), stays: by how much the frame is lighter than the mean of both

    @classmethod
    def of(cls, source: Tensor, image: Tensor, raw: Tensor) -> Beside:
        """From pictures (3, H, W) before and after the network, and by how much the source is
        brighter than each neighbour, (2, H, W) in code values.
        """
        luma = _luma(source)
        neighbours = luma - raw
        removed = luma - _luma(image)
        together = blurred(torch.cat([raw, removed[None]]), BLUR, SIGMAS)
        exposure = _exposure(together)
        without = together - exposure
        differences = without[:2]
        stand_out = _smaller(*differences.unbind(0))
        above, below = luma - neighbours.amax(0), neighbours.amin(0) - luma
        beyond = [_beyond(luma, neighbours, stand_out, side) for side in DISPLACED]
        apart = torch.maximum(above.abs(), below.abs())
        others = [*beyond, apart, _slope(stand_out), together[2], without[2]]
        lumas = torch.cat([luma[None], neighbours]).round().clamp(0, 255)
        planes = torch.cat([differences, torch.stack([stand_out, *others])])
        return cls(lumas.to(torch.uint8), planes.half(), exposure[:2].mean(0))


def landed_planes(lumas: Tensor, planes: Tensor) -> Landed:
    """The planes of `Beside`, after they came to the CPU."""
    wide = planes[:3].float().numpy()
    return Landed(lumas.numpy(), wide[:2], wide[2], planes[3:].numpy())


def _luma(picture: Tensor) -> Tensor:
    red, green, blue = picture.unbind(0)
    return (red + green + blue) * (255 / 3)


def _smaller(first: Tensor, second: Tensor) -> Tensor:
    least = torch.minimum(first.abs(), second.abs())
    return torch.where(first * second > 0, torch.copysign(least, first), 0)


def _beyond(luma: Tensor, neighbours: Tensor, stand_out: Tensor, side: int) -> Tensor:
    above = luma - highest(neighbours, side).amax(0)
    below = -highest(-neighbours, side).amax(0) - luma
    return torch.where(stand_out > 0, above, below).clamp_min(0)


def highest(planes: Tensor, side: int) -> Tensor:
    """Planes (N, H, W), each pixel the highest of the square around it."""
    reach = side // 2
    rows = F.max_pool2d(planes[None], (side, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, reach))[0]


def _slope(plane: Tensor) -> Tensor:
    """The length of the gradient by Sobel's masks."""
    mode = "reflect" if min(plane.shape) > 1 else "replicate"
    wide = F.pad(plane[None, None], (1, 1, 1, 1), mode=mode)[0, 0]
    down, across = wide[2:] - wide[:-2], wide[:, 2:] - wide[:, :-2]
    slopes = _smooth(down[:, :-2], down[:, 1:-1], down[:, 2:])
    return torch.hypot(slopes, _smooth(across[:-2], across[1:-1], across[2:]))


def _smooth(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    return (before + 2 * here + after) / 8


def _exposure(differences: Tensor) -> Tensor:
    """The smooth part of differences (N, H, W), found at a quarter of the size."""
    height, width = differences.shape[-2:]
    clipped = differences.clamp(-EXPOSURE_STEP, EXPOSURE_STEP)
    small = shrunk(clipped, max(height // 4, 1), max(width // 4, 1))
    smooth = blurred(small, EXPOSURE_SIGMA / 4, SIGMAS)
    return F.interpolate(smooth[None], (height, width), mode="bilinear", align_corners=False)[0]


def to_land(beside: Beside) -> Sequence[Tensor]:
    """What of a comparison comes to the CPU."""
    return beside.lumas, beside.planes
