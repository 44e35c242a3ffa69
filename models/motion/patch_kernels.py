"""The patches of `models.motion.patches` as kernels of a GPU, written in Triton.

A patch stays in registers for all steps of a descent; only its motion goes to memory. Every sum has
one order, so the same pictures give the same flow. Importing this needs Triton, which comes with
PyTorch for CUDA. No GPU has run it yet (docs/experiments/2026-12-01-flow-kernels.md).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.motion.patches import (
    DAMPING,
    OUTLIER,
    PATCH,
    STEPS,
    STRIDE,
    KernelError,
    grid_of,
)

# Of a program: a warp holds 4 patches, 8 pixels of one to a thread, so a sum stays within the warp.
# With 8 patches the coarse scales have too few programs; more warps need shared memory.
PATCHES, WARPS = 4, 1
PIXELS, PIXEL_WARPS = 256, 4  # of a program that makes flow of motions

Kernel = Any  # of Triton, which has no types

_PATCH, _STRIDE, _STEPS = tl.constexpr(PATCH), tl.constexpr(STRIDE), tl.constexpr(STEPS)
_AREA, _STRAYED = tl.constexpr(PATCH**2), tl.constexpr(float(PATCH**2))
_OUTLIER, _DAMPING = tl.constexpr(OUTLIER), tl.constexpr(DAMPING)
# Kernels are compiled once, not for each size of picture.
SIZES = ("height", "width", "rows", "columns")


class KernelPatches:
    """The same as `models.motion.patches.Patches`, of float32 planes."""

    def __init__(self, one: Tensor, other: Tensor) -> None:
        self._one, self._other = one.contiguous(), other.contiguous()
        self._size = height, width = one.shape[-2:]
        self._shape = grid_of(height, width)
        rows, columns = self._shape
        self._groups = triton.cdiv(rows * columns, PATCHES), len(one)

    def descended(self, moved: Tensor, begun: Tensor) -> Tensor:
        moved, begun = moved.contiguous(), begun.contiguous()
        made = torch.empty_like(moved)
        self._launch(descend, self._groups, moved, begun, made, PATCHES=PATCHES, num_warps=WARPS)
        return made

    def best(self, moved: Tensor) -> Tensor:
        moved = moved.contiguous()
        made = torch.empty_like(moved)
        self._launch(choose, self._groups, moved, made, PATCHES=PATCHES, num_warps=WARPS)
        return made

    def dense(self, moved: Tensor) -> Tensor:
        height, width = self._size
        made = moved.new_empty(len(moved), 2, height, width)
        groups = triton.cdiv(height * width, PIXELS), len(moved)
        moved = moved.contiguous()
        self._launch(spread, groups, moved, made, PIXELS=PIXELS, num_warps=PIXEL_WARPS)
        return made

    def _launch(
        self, kernel: Kernel, groups: tuple[int, int], *motions: Tensor, **options: int
    ) -> None:
        """Raises KernelError: without a compiler, with too old a driver, on a fault of either."""
        try:
            with torch.cuda.device_of(self._one):  # type: ignore[no-untyped-call]
                kernel[groups](
                    self._one, self._other, *motions, *self._size, *self._shape, **options
                )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise KernelError(f"{type(error).__name__}: {error}") from error


@triton.jit(do_not_specialize=SIZES)
def descend(
    one: tl.tensor, other: tl.tensor, moved: tl.tensor, begun: tl.tensor, made: tl.tensor,
    height: tl.tensor, width: tl.tensor, rows: tl.tensor, columns: tl.tensor,
    PATCHES: tl.constexpr,
) -> None:  # fmt: skip
    """`Patches.descended` of PATCHES patches."""
    patch, count, inside = _patches(rows, columns, PATCHES)
    batch = tl.program_id(1).to(tl.int64)
    one += batch * height * width
    other += batch * height * width
    x, y = _pixels(patch, columns)
    values = _at(one, x, y, height, width)
    gx = (_at(one, x + 1, y, height, width) - _at(one, x - 1, y, height, width)) * 0.5
    gy = (_at(one, x, y + 1, height, width) - _at(one, x, y - 1, height, width)) * 0.5
    gx -= (tl.sum(gx, 0) / _AREA)[None, :]
    gy -= (tl.sum(gy, 0) / _AREA)[None, :]
    xx, yy = tl.sum(gx * gx, 0) + _DAMPING, tl.sum(gy * gy, 0) + _DAMPING
    xy = tl.sum(gx * gy, 0)
    within = 1 / (xx * yy - xy * xy)
    xx, xy, yy = xx * within, xy * within, yy * within
    place = batch * 2 * count + patch
    u, v = tl.load(moved + place), tl.load(moved + place + count)
    for _ in range(_STEPS):
        apart = _residual(other, values, x, y, u, v, height, width)
        to_x, to_y = tl.sum(gx * apart, 0), tl.sum(gy * apart, 0)
        u -= yy * to_x - xy * to_y
        v -= xx * to_y - xy * to_x
    first_u, first_v = tl.load(begun + place), tl.load(begun + place + count)
    far_u, far_v = u - first_u, v - first_v
    strayed = far_u * far_u + far_v * far_v > _STRAYED
    tl.store(made + place, tl.where(strayed, first_u, u), mask=inside)
    tl.store(made + place + count, tl.where(strayed, first_v, v), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def choose(
    one: tl.tensor, other: tl.tensor, moved: tl.tensor, made: tl.tensor,
    height: tl.tensor, width: tl.tensor, rows: tl.tensor, columns: tl.tensor,
    PATCHES: tl.constexpr,
) -> None:  # fmt: skip
    """`Patches.best` of PATCHES patches."""
    patch, count, inside = _patches(rows, columns, PATCHES)
    batch = tl.program_id(1).to(tl.int64)
    one += batch * height * width
    other += batch * height * width
    moved += batch * 2 * count
    made += batch * 2 * count
    x, y = _pixels(patch, columns)
    values = _at(one, x, y, height, width)
    row, column = patch // columns, patch % columns
    u, v = tl.load(moved + patch), tl.load(moved + patch + count)
    apart = _residual(other, values, x, y, u, v, height, width)
    least = tl.sum(apart * apart, 0)
    for side in range(4):  # left, right, above, below
        across = tl.where(side < 2, 2 * side - 1, 0)
        down = tl.where(side < 2, 0, 2 * side - 5)
        near_row = tl.minimum(tl.maximum(row + down, 0), rows - 1)
        near_column = tl.minimum(tl.maximum(column + across, 0), columns - 1)
        near = near_row * columns + near_column
        near_u, near_v = tl.load(moved + near), tl.load(moved + near + count)
        apart = _residual(other, values, x, y, near_u, near_v, height, width)
        cost = tl.sum(apart * apart, 0)
        fits = cost < least
        u, v = tl.where(fits, near_u, u), tl.where(fits, near_v, v)
        least = tl.where(fits, cost, least)
    tl.store(made + patch, u, mask=inside)
    tl.store(made + patch + count, v, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def spread(
    one: tl.tensor, other: tl.tensor, moved: tl.tensor, made: tl.tensor,
    height: tl.tensor, width: tl.tensor, rows: tl.tensor, columns: tl.tensor,
    PIXELS: tl.constexpr,
) -> None:  # fmt: skip
    """`Patches.dense` of PIXELS pixels, each from the four patches over it at most."""
    area = height * width
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < area
    pixel = tl.minimum(pixel, area - 1)
    batch = tl.program_id(1).to(tl.int64)
    one += batch * area
    other += batch * area
    moved += batch * 2 * rows * columns
    made += batch * 2 * area
    x, y = pixel % width, pixel // width
    value = tl.load(one + pixel)
    total_u, total_v = tl.zeros_like(value), tl.zeros_like(value)
    total = tl.zeros_like(value)
    for near in tl.static_range(4):
        row, column = y // _STRIDE - near // 2, x // _STRIDE - near % 2
        over = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        patch = tl.where(over, row * columns + column, 0)
        u, v = tl.load(moved + patch), tl.load(moved + patch + rows * columns)
        apart = tl.abs(_seen(other, x + u, y + v, height, width) - value)
        weight = tl.where(over, 1 / tl.maximum(apart, 1.0), 0.0)
        total_u += weight * u
        total_v += weight * v
        total += weight
    tl.store(made + pixel, total_u / total, mask=inside)
    tl.store(made + pixel + area, total_v / total, mask=inside)


@triton.jit
def _patches(rows: tl.tensor, columns: tl.tensor, PATCHES: tl.constexpr) -> tl.tensor:
    """Numbers of a program's patches, how many a plane has, and which of these are of it."""
    patch = tl.program_id(0) * PATCHES + tl.arange(0, PATCHES)
    count = rows * columns
    return tl.minimum(patch, count - 1), count, patch < count


@triton.jit
def _pixels(patch: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """x and y (PATCH**2, PATCHES) of the pixels of patches."""
    index = tl.arange(0, _AREA)[:, None]
    x = (patch % columns)[None, :] * _STRIDE + index % _PATCH
    y = (patch // columns)[None, :] * _STRIDE + index // _PATCH
    return x, y


@triton.jit
def _at(
    plane: tl.tensor, x: tl.tensor, y: tl.tensor, height: tl.tensor, width: tl.tensor
) -> tl.tensor:
    """Pixels of a plane that is continued beyond its edges."""
    x = tl.minimum(tl.maximum(x, 0), width - 1)
    y = tl.minimum(tl.maximum(y, 0), height - 1)
    return tl.load(plane + y * width + x)


@triton.jit
def _seen(
    plane: tl.tensor, x: tl.tensor, y: tl.tensor, height: tl.tensor, width: tl.tensor
) -> tl.tensor:
    """A plane between its pixels, bilinear; coordinates beyond an edge are moved onto it."""
    x = tl.minimum(tl.maximum(x, 0.0), (width - 1).to(tl.float32))
    y = tl.minimum(tl.maximum(y, 0.0), (height - 1).to(tl.float32))
    left, top = tl.floor(x), tl.floor(y)
    x -= left
    y -= top
    left, top = left.to(tl.int32), top.to(tl.int32)
    right, bottom = tl.minimum(left + 1, width - 1), tl.minimum(top + 1, height - 1)
    upper, lower = plane + top * width, plane + bottom * width
    above = tl.load(upper + left) * (1 - x) + tl.load(upper + right) * x
    below = tl.load(lower + left) * (1 - x) + tl.load(lower + right) * x
    return above * (1 - y) + below * y


@triton.jit
def _residual(
    other: tl.tensor,
    values: tl.tensor,
    x: tl.tensor,
    y: tl.tensor,
    u: tl.tensor,
    v: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
) -> tl.tensor:
    """Difference of where patches have moved to from their values, without mean and outliers."""
    apart = _seen(other, x + u[None, :], y + v[None, :], height, width) - values
    apart -= (tl.sum(apart, 0) / _AREA)[None, :]
    return tl.minimum(tl.maximum(apart, -_OUTLIER), _OUTLIER)
