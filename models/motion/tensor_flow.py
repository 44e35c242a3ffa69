"""Optical flow by DIS (Kroeger et al., ECCV 2016) as tensor operations, for a GPU.

Patches of 8 pixels every 4 descend by the inverse-compositional method, with the mean of the
difference taken away. Two things differ from OpenCV: all patches move at once, so a patch takes
the motion of a neighbour by comparison and not in the order of the rows, and no refinement follows.
Nothing here waits for the device. What patches do has two forms: plain tensor operations, and
kernels where Triton and a GPU are.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from models.motion.patches import PATCH, STRIDE, KernelError, Patches, covered

ROUNDS = 2  # of descents; after each a patch looks at its neighbours
COARSEST = 30  # pixels: least longer side of the coarsest scale
log = logging.getLogger(__name__)


class Form(Protocol):
    """What patches do; see `Patches`."""

    def descended(self, moved: Tensor, begun: Tensor) -> Tensor: ...

    def best(self, moved: Tensor) -> Tensor: ...

    def dense(self, moved: Tensor) -> Tensor: ...


FormOf = Callable[[Tensor, Tensor], Form]


class Kernels:
    """Patches as kernels of a GPU, until they fail: then ``why`` says so, and no more are started.

    ``device`` is the type of device that they are for.
    """

    def __init__(self, load: Callable[[], FormOf], device: str = "cuda") -> None:
        self._load, self._device = load, device
        self._form: FormOf | None = None
        self._lock = threading.Lock()
        self.why: str | None = None

    def form(self, planes: Tensor) -> FormOf | None:
        """What makes patches of such planes; None where `Patches` must."""
        if self.why is not None or planes.device.type != self._device:
            return None
        if self._form is None:
            try:
                self._form = self._load()
            except Exception as error:  # whatever a broken package raises
                self.leave(f"{type(error).__name__}: {error}")
        return self._form if planes.dtype == torch.float32 else None

    def leave(self, why: str) -> None:
        """Start no more kernels in this process; the first time, say why."""
        with self._lock:
            first, self.why = self.why is None, self.why or why.splitlines()[0]
        if first:
            log.warning("flow without kernels, by plain PyTorch, which is slower: %s", self.why)


def _kernel_patches() -> FormOf:
    from models.motion.patch_kernels import KernelPatches  # needs Triton

    return KernelPatches


KERNELS = Kernels(_kernel_patches)


def flow(one: Tensor, other: Tensor, finest: int = 1) -> Tensor:
    """Flow (B, 2, H, W) in pixels, x first, from pictures to others, (B, H, W) in code values.

    By kernels on a GPU, and by plain PyTorch elsewhere. ``finest`` is the finest scale that is
    searched, as a power of two below the whole size.
    """
    form = KERNELS.form(one)
    if form is not None:
        try:
            return flow_by(form, one, other, finest)
        except KernelError as error:
            KERNELS.leave(str(error))
    return flow_by(Patches, one, other, finest)


def flow_by(form: FormOf, one: Tensor, other: Tensor, finest: int = 1) -> Tensor:
    """`flow` by one form of patches. Raises KernelError if it is one of kernels."""
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
        found = _search(form(here, there), found)
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


def _search(patches: Form, start: Tensor) -> Tensor:
    """Flow (B, 2, h, w) of the patches of one scale, from a first flow."""
    middle = PATCH // 2 - 1
    begun = F.avg_pool2d(covered(start)[..., middle:, middle:], 2, STRIDE)
    moved = begun
    for _ in range(ROUNDS):
        moved = patches.best(patches.descended(moved, begun))
    return patches.dense(moved)
