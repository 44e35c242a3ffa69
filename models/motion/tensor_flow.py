"""Optical flow by DIS (Kroeger et al., ECCV 2016) as tensor operations, for a GPU.

Patches of 8 pixels every 4 descend by the inverse-compositional method, with the mean of the
difference taken away. Two things differ from OpenCV: all patches move at once, so a patch takes
the motion of a neighbour by comparison and not in the order of the rows, and no refinement follows.
Nothing here waits for the device.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

PATCH, STRIDE = 8, 4  # pixels: side of a patch, and from one to the next
ROUNDS, STEPS = 2, 6  # after each round of steps a patch looks at its neighbours
COARSEST = 30  # pixels: least longer side of the coarsest scale
OUTLIER = 20.0  # code values: a larger difference, as at a scratch, counts as this large
DAMPING = 500.0  # squared code values added to the gradients of a patch: a flat one stays


def flow(one: Tensor, other: Tensor, finest: int = 1) -> Tensor:
    """Flow (B, 2, H, W) in pixels, x first, from pictures to others, (B, H, W) in code values.

    ``finest`` is the finest scale that is searched, as a power of two below the whole size.
    """
    height, width = one.shape[-2:]
    coarsest = max(finest, int(math.log2(max(height, width, COARSEST) / COARSEST)))
    scales = [(one[:, None], other[:, None])]
    for _ in range(coarsest):
        scales.append((_halved(scales[-1][0]), _halved(scales[-1][1])))
    found = one.new_zeros(len(one), 2, *scales[-1][0].shape[-2:])
    for scale in range(coarsest, finest - 1, -1):
        here, there = scales[scale]
        if scale < coarsest:
            found = _doubled(found, here)
        found = _search(here, there, found)
    for scale in range(finest - 1, -1, -1):
        found = _doubled(found, scales[scale][0])
    return found


def _halved(planes: Tensor) -> Tensor:
    """Planes (B, 1, H, W) at half the size, an odd last row or column continued."""
    height, width = planes.shape[-2:]
    return F.avg_pool2d(F.pad(planes, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _doubled(found: Tensor, like: Tensor) -> Tensor:
    """Flow at twice the size, cut to that of the planes ``like``."""
    large = 2 * F.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
    return large[..., : like.shape[-2], : like.shape[-1]]


def _search(one: Tensor, other: Tensor, start: Tensor) -> Tensor:
    """Flow (B, 2, h, w) between planes (B, 1, h, w) of one scale, from a first flow."""
    height, width = one.shape[-2:]
    wide, high = (max(PATCH, side + -side % STRIDE) for side in (width, height))
    pad = (0, wide - width, 0, high - height)
    one, start = F.pad(one, pad, mode="replicate"), F.pad(start, pad, mode="replicate")
    patches = _Patches(one, other)
    middle = PATCH // 2 - 1
    begun = F.avg_pool2d(start[..., middle:, middle:], 2, STRIDE)
    moved = begun
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            moved = patches.step(moved)
        strayed = (moved - begun).square().sum(1, keepdim=True) > PATCH**2
        moved = patches.best(torch.where(strayed, begun, moved))
    return patches.dense(moved)[..., :height, :width]


class _Patches:
    """All patches of planes (B, 1, h, w), to be found in others.

    Motions are (B, 2, rows, columns).
    """

    def __init__(self, one: Tensor, other: Tensor) -> None:
        self._other, self._size = other, one.shape[-2:]
        self._shape = tuple((side - PATCH) // STRIDE + 1 for side in self._size)
        wide = F.pad(one, (1, 1, 1, 1), mode="replicate")
        across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
        down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
        self._values, gx, gy = (self._parts(plane) for plane in (one, across, down))
        self._gx, self._gy = gx - gx.mean(1, keepdim=True), gy - gy.mean(1, keepdim=True)
        xx, yy = self._gx.square().sum(1) + DAMPING, self._gy.square().sum(1) + DAMPING
        xy = (self._gx * self._gy).sum(1)
        within = 1 / (xx * yy - xy.square())
        self._inverse = xx * within, xy * within, yy * within
        self._x, self._y = _places(*self._shape, one.device)

    def _parts(self, plane: Tensor) -> Tensor:
        return F.unfold(plane, PATCH, stride=STRIDE)  # (B, PATCH**2, patches)

    def _apart(self, moved: Tensor) -> Tensor:
        """Difference of the pixels that patches have moved to from the patches' own."""
        height, width = self._other.shape[-2:]
        x, y = (self._x + moved[:, :1].flatten(2)), (self._y + moved[:, 1:].flatten(2))
        # Pixel coordinates as grid_sample has them with align_corners=False.
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        seen = F.grid_sample(self._other, grid, padding_mode="border", align_corners=False)
        return seen[:, 0] - self._values

    def _residual(self, moved: Tensor) -> Tensor:
        """The difference without its mean, and without outliers."""
        apart = self._apart(moved)
        return (apart - apart.mean(1, keepdim=True)).clamp(-OUTLIER, OUTLIER)

    def step(self, moved: Tensor) -> Tensor:
        """Motions after one step of the descent."""
        apart = self._residual(moved)
        x, y = (self._gx * apart).sum(1), (self._gy * apart).sum(1)
        xx, xy, yy = self._inverse
        step = torch.stack([yy * x - xy * y, xx * y - xy * x], 1)
        return moved - step.view(moved.shape)

    def _cost(self, moved: Tensor) -> Tensor:
        return self._residual(moved).square().sum(1).view(len(moved), 1, *self._shape)

    def best(self, moved: Tensor) -> Tensor:
        """For each patch the motion, of its own and its four neighbours', that fits best."""
        best, least = moved, self._cost(moved)
        around = F.pad(moved, (1, 1, 1, 1), mode="replicate")
        for part in (
            around[..., 1:-1, :-2],
            around[..., 1:-1, 2:],
            around[..., :-2, 1:-1],
            around[..., 2:, 1:-1],
        ):
            cost = self._cost(part)
            fits = cost < least
            best, least = torch.where(fits, part, best), torch.where(fits, cost, least)
        return best

    def dense(self, moved: Tensor) -> Tensor:
        """Flow of every pixel: the mean of the patches over it, weighted by how well each fits."""
        weight = 1 / self._apart(moved).abs().clamp_min(1)
        values = moved.flatten(2)[:, :, None] * weight[:, None]  # (B, 2, PATCH**2, patches)
        shares = torch.cat([values, weight[:, None]], 1).flatten(1, 2)
        summed = F.fold(shares, self._size, PATCH, stride=STRIDE)
        return summed[:, :2] / summed[:, 2:]


@lru_cache(maxsize=32)
def _places(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y of the pixels of all patches, (1, PATCH**2, rows * columns)."""
    inside = torch.arange(PATCH, device=device, dtype=torch.float32)
    across = STRIDE * torch.arange(columns, device=device, dtype=torch.float32)
    down = STRIDE * torch.arange(rows, device=device, dtype=torch.float32)
    shape = PATCH, PATCH, rows, columns
    x = (inside[None, :, None, None] + across[None, None, None]).expand(shape)
    y = (inside[:, None, None, None] + down[None, None, :, None]).expand(shape)
    return x.reshape(1, PATCH**2, -1), y.reshape(1, PATCH**2, -1)
