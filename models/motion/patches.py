"""All patches of a picture at once, as tensor operations: how they move onto another picture.

A patch descends by the inverse-compositional method with the mean of the difference taken away
(Kroeger et al., ECCV 2016). `models.motion.patch_kernels` does the same in kernels of a GPU.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

PATCH, STRIDE = 8, 4  # pixels: side of a patch, and from one to the next
STEPS = 6  # of a descent
OUTLIER = 20.0  # code values: a larger difference, as at a scratch, counts as this large
DAMPING = 500.0  # squared code values added to the gradients of a patch: a flat one stays


class KernelError(RuntimeError):
    """A kernel that stands for a method of `Patches` could not be compiled or launched."""


def covered(planes: Tensor) -> Tensor:
    """Planes (B, N, h, w), continued below and to the right until whole patches cover them."""
    rows, columns = (max(PATCH, side + -side % STRIDE) - side for side in planes.shape[-2:])
    return F.pad(planes, (0, columns, 0, rows), mode="replicate")


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the patches that cover a plane."""
    rows, columns = (
        (max(PATCH, side + -side % STRIDE) - PATCH) // STRIDE for side in (height, width)
    )
    return rows + 1, columns + 1


class Patches:
    """All patches of planes (B, 1, h, w), to be found in others of the same size.

    Motions are (B, 2, rows, columns) in pixels, x first.
    """

    def __init__(self, one: Tensor, other: Tensor) -> None:
        self._other, self._shape = other, grid_of(*one.shape[-2:])
        one = covered(one)
        self._size = one.shape[-2:]
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

    def _step(self, moved: Tensor) -> Tensor:
        apart = self._residual(moved)
        x, y = (self._gx * apart).sum(1), (self._gy * apart).sum(1)
        xx, xy, yy = self._inverse
        step = torch.stack([yy * x - xy * y, xx * y - xy * x], 1)
        return moved - step.view(moved.shape)

    def descended(self, moved: Tensor, begun: Tensor) -> Tensor:
        """Motions after STEPS steps. A patch further than its size from where it had ``begun`` is
        set back there.
        """
        for _ in range(STEPS):
            moved = self._step(moved)
        strayed = (moved - begun).square().sum(1, keepdim=True) > PATCH**2
        return torch.where(strayed, begun, moved)

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
        """Flow (B, 2, h, w): the mean of the patches over a pixel, weighted by how well each
        fits there.
        """
        height, width = self._other.shape[-2:]
        weight = 1 / self._apart(moved).abs().clamp_min(1)
        values = moved.flatten(2)[:, :, None] * weight[:, None]  # (B, 2, PATCH**2, patches)
        shares = torch.cat([values, weight[:, None]], 1).flatten(1, 2)
        summed = F.fold(shares, self._size, PATCH, stride=STRIDE)
        return (summed[:, :2] / summed[:, 2:])[..., :height, :width]


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
