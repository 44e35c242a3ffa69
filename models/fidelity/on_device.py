"""The stages around the evidence for a frame whose pictures are on a device.

A frame is compared with its neighbours as `models.fidelity.compared` means it, and the planes that
the evidence needs come to the CPU, of 8 and 16 bits. The evidence is found there: its masks go up,
and pictures stay where they are. What follows is that of `change_bound`,
`evidence.apply_decisions` and `grain`. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.colour_tensors import shrunk
from models.fidelity.compared import BLUR, DISPLACED, EXPOSURE_SIGMA, EXPOSURE_STEP, Landed
from models.fidelity.grain_places import BRIGHTNESS, Lacking
from models.fidelity.masks import suspect_share
from models.frame_state import FrameState, OnDevice
from models.motion.tensors import SIGMAS, blurred, pictures_of
from models.transfer import up

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


def applied_there(frame: FrameState) -> FrameState:
    """The frame with the source's pixels where a suspect is, and with the neighbours' where the
    network leaves a defect.
    """
    there = pictures_of(frame)
    image = there.image
    if frame.fill is not None and there.neighbours is not None:
        image = torch.lerp(image, there.neighbours, up(frame.fill, image.device))
    if frame.suspects is not None:
        image = torch.lerp(image, there.source, up(suspect_share(frame.suspects), image.device))
    return replace(frame, on_device=there._replace(image=image, neighbours=None))


def kept_there(frame: FrameState, share: float, weight: NDArray[np.float32]) -> FrameState:
    """The frame with a ``share`` of its grain: the source's own, where ``weight`` (H, W) is 0."""
    there = pictures_of(frame)
    back = there.source - there.image
    if there.grain is not None:
        back = torch.lerp(back, there.grain, up(weight, back.device))
    image = torch.add(there.image, back, alpha=share)
    return replace(frame, on_device=there._replace(image=image, grain=None))


class Places:
    """Places of a frame that lack grain, and those that may give it; found on the CPU."""

    def __init__(self, lacking: NDArray[np.bool_], frame: FrameState) -> None:
        """``lacking`` are the pixels without grain of their own, (H, W)."""
        found = Lacking.of(lacking, frame)
        most = max(len(others) for others in found.candidates)
        # A place without as many candidates has itself for one, which is spoiled.
        self.boxes = np.stack(
            [
                np.concatenate([place[None], others, np.repeat(place[None], most - len(others), 0)])
                for place, others in zip(found.places, found.candidates, strict=True)
            ]
        )  # (N, 1 + candidates, 4), each place first
        self.spoiled = cv2.integral(found.spoiled)
        self.pixels = np.flatnonzero(lacking)
        self.of = found.labels.ravel()[self.pixels].astype(np.int64) - 1  # the place of each pixel

    def patched(self, there: OnDevice) -> Tensor:
        """What the network took (3, H, W), with other places' where the frame is repaired."""
        taken = there.source - there.image
        width = taken.shape[-1]
        boxes, pixels, of = (
            up(array, taken.device) for array in (self.boxes, self.pixels, self.of)
        )
        spoiled = up(self.spoiled, taken.device)
        luma = _integral(255 * there.image.mean(0))
        energy = _integral((255 * taken).square().mean(0))
        free = _means(spoiled, boxes[:, 1:]) == 0
        levels, power = _means(luma, boxes), _means(energy, boxes[:, 1:])
        apart = torch.where(free, (levels[:, 1:] - levels[:, :1]).abs(), torch.inf)
        most = apart.amin(1, keepdim=True).clamp_min(BRIGHTNESS)
        alike = free & (apart <= most)
        order = torch.where(alike, power, torch.inf).argsort(stable=True, dim=1)
        middle = order.gather(1, alike.sum(1, keepdim=True) // 2 * any_of(alike))
        chosen = boxes[:, 1:].gather(1, middle[..., None].expand(-1, -1, 4))[:, 0]
        moved = (chosen - boxes[:, 0])[:, 1] * width + (chosen - boxes[:, 0])[:, 0]
        known = any_of(alike)[:, 0].index_select(0, of)
        flat = taken.flatten(1)
        given = flat.index_select(1, pixels + moved.index_select(0, of)) * known
        return flat.index_copy(1, pixels, given).view_as(taken)


def any_of(mask: Tensor) -> Tensor:
    """1 for each row of a mask (N, M) with a pixel, else 0, (N, 1)."""
    return mask.any(1, keepdim=True).long()


def _integral(plane: Tensor) -> Tensor:
    """Sums (H + 1, W + 1) of all that is above and left of each pixel's corner."""
    sums = plane.double().cumsum(0).cumsum(1)
    return F.pad(sums, (1, 0, 1, 0))


def _means(integral: Tensor, boxes: Tensor) -> Tensor:
    """Mean of a plane over boxes (N, M, 4), (N, M), from its integral."""
    x, y, wide, high = boxes.unbind(-1)
    row, flat = integral.shape[1], integral.flatten()

    def at(down: Tensor, across: Tensor) -> Tensor:
        return flat.gather(0, (down * row + across).flatten()).view_as(down)

    right, below = x + wide, y + high
    total = at(below, right) - at(y, right) - at(below, x) + at(y, x)
    return total / (wide * high)
