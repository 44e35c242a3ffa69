"""The kernels of the flow beside its plain form, in Triton's interpreter: no GPU is needed.

Prints how far they are apart, as JSON. Run in a process of its own: the interpreter is chosen by
TRITON_INTERPRET=1 before Triton is imported.
"""

from __future__ import annotations

import json
import sys

import torch
from torch import Tensor
from torch.nn import functional as F

from models.motion import patch_kernels
from models.motion.patch_kernels import KernelPatches
from models.motion.patches import Patches
from models.motion.tensor_flow import flow_by

# Batch, height, width, and whether a program holds as many patches as on a GPU. The interpreter
# takes the same time for many.
CASES = ((3, 5, 7, True), (2, 12, 13, True), (2, 33, 47, False))
AS_ON_A_GPU = patch_kernels.PATCHES, patch_kernels.PIXELS
MANY = 512, 8192
RANDOM = torch.Generator().manual_seed(0)


def moving(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A texture with strong edges, and the same two pixels further left and one up, with noise."""
    rough = torch.rand(batch, 1, height // 3 + 5, width // 3 + 5, generator=RANDOM)
    wide = F.interpolate(rough, (height + 4, width + 4), mode="bicubic")[:, 0].clamp(0, 1) * 255
    one, other = wide[:, 1 : 1 + height, 1 : 1 + width], wide[:, 2 : 2 + height, 3 : 3 + width]
    return one, other + 4 * torch.randn(other.shape, generator=RANDOM)


def apart(one: Tensor, other: Tensor) -> dict[str, float]:
    difference = (one - other).abs()
    return {"largest": float(difference.max()), "mean": float(difference.mean())}


def of_methods(batch: int, height: int, width: int) -> dict[str, dict[str, float]]:
    """Every method of both forms, for motions some of which are far off."""
    planes = [planes[:, None] for planes in moving(batch, height, width)]
    plain, kernels = Patches(*planes), KernelPatches(*planes)
    begun = 3 * torch.randn(batch, 2, *plain._shape, generator=RANDOM)
    away = begun + 9.0 * (torch.rand(begun.shape, generator=RANDOM) < 0.3)
    found = {
        name: apart(getattr(plain, name)(*given), getattr(kernels, name)(*given))
        for name, given in {"descended": (away, begun), "best": (away,), "dense": (away,)}.items()
    }
    found["moves"] = apart(plain.descended(away, begun), begun)
    found["chooses"] = apart(plain.best(away), away)
    return found


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for batch, height, width, as_on_a_gpu in CASES:
        patch_kernels.PATCHES, patch_kernels.PIXELS = AS_ON_A_GPU if as_on_a_gpu else MANY
        found[f"{height}x{width}"] = of_methods(batch, height, width)
    patch_kernels.PATCHES, patch_kernels.PIXELS = MANY
    pictures = moving(1, 63, 90)
    flows = [flow_by(form, *pictures, finest=0) for form in (Patches, KernelPatches)]
    moves = flows[0].median(-1).values.median(-1).values
    found["flow"] = {
        "flow": apart(*flows),
        "moves": {"x": float(moves[0, 0]), "y": float(moves[0, 1])},
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
