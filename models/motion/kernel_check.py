"""Flow by kernels beside flow by plain PyTorch, on one device: is it the same, and how fast?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graphs import AS_THEY_ARE, Function, graphed
from models.motion import tensor_flow
from models.motion.patches import KernelError, Patches
from models.motion.tensor_flow import FormOf, Kernels
from models.network.timing import settled

APART = 0.1  # pixels by which a motion counts as another
MOST_APART = 0.01  # share up to which flows are alike: of two equal matches a last digit decides


@dataclass(frozen=True)
class KernelCheck:
    """What was found. Without a kernel ``why`` says why there is none, and the rest is None."""

    why: str | None
    mean: float | None = None  # pixels that motions are apart
    largest: float | None = None
    share_apart: float | None = None  # of motions further apart than APART
    alike: bool | None = None
    kernel_ms: float | None = None  # one flow, as in a run
    plain_ms: float | None = None


def kernel_check(
    one: NDArray[np.uint8],
    other: NDArray[np.uint8],
    device: torch.device,
    repeated: int,
    kernels: Kernels | None = None,
) -> KernelCheck:
    """Compare the two forms on a pair of lumas (H, W), and time ``repeated`` flows of each."""
    kernels = kernels or tensor_flow.KERNELS
    lumas = [torch.from_numpy(luma)[None].float().to(device) for luma in (one, other)]
    form = kernels.form(lumas[0])
    if form is None:
        return KernelCheck(kernels.why or "the kernel needs a GPU")
    try:
        found, kernel_ms = _timed(form, lumas, repeated)
    except KernelError as error:
        kernels.leave(str(error))
        return KernelCheck(kernels.why)
    plain, plain_ms = _timed(Patches, lumas, repeated)
    distance = (found - plain).norm(dim=1)
    share = float((distance > APART).float().mean())
    return KernelCheck(
        None,
        mean=round(float(distance.mean()), 6),
        largest=round(float(distance.max()), 4),
        share_apart=round(share, 6),
        alike=share <= MOST_APART,
        kernel_ms=kernel_ms,
        plain_ms=plain_ms,
    )


def _timed(form: FormOf, lumas: list[Tensor], repeated: int) -> tuple[Tensor, float]:
    """A flow, and the milliseconds of one: as a graph where the device makes them."""
    device = lumas[0].device
    flow: Function = graphed(partial(tensor_flow.flow_by, form), device)
    for _ in range(AS_THEY_ARE + 1):
        found = flow(*lumas)
    started = settled(device)
    for _ in range(repeated):
        flow(*lumas)
    return found, round(1000 * (settled(device) - started) / repeated, 3)
