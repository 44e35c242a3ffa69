"""What the kernels of the flow take of an H200, and how many operations a flow has. Needs no GPU.

Run from the root of the repository: python docs/experiments/scripts/flow_kernels.py
With TRITON_INTERPRET=1 and clips as arguments, it compares flow of these clips by both forms.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.motion.patches import Patches
from models.motion.tensor_flow import FormOf, flow_by
from pipeline.media.rgb import read_planes
from tests.support import compiled_kernels

KernelPatches = compiled_kernels.patch_kernels.KernelPatches
REGISTERS, WARPS, PROGRAMS = 65_536, 64, 32  # of a multiprocessor of compute capability 9.0
SHAPES = (
    *((name, each, 1) for each in (1, 2, 4, 8) for name in ("descend", "choose")),
    ("descend", 16, 4), ("choose", 16, 4), ("spread", 128, 4), ("spread", 256, 4),
)  # fmt: skip


def at_a_time(registers: int, warps: int) -> int:
    """Programs that a multiprocessor holds."""
    of_a_warp = 256 * math.ceil(registers * 32 / 256)
    return min(PROGRAMS, WARPS // warps, REGISTERS // (of_a_warp * warps))


class Counted(TorchDispatchMode):
    """Counts operations that compute: views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not (func.is_view or "empty" in str(func) or "view" in str(func))
        return func(*args, **(kwargs or {}))


def operations(form: FormOf, height: int, width: int) -> int:
    """Operations of one flow, the kernels among them; nothing is computed."""
    one = torch.empty(1, height, width, device="meta")
    with mock.patch.object(KernelPatches, "_launch") as launch, Counted() as counted:
        flow_by(form, one, one)
    return counted.count + launch.call_count


def luma(planes: tuple[np.ndarray, ...]) -> Tensor:
    """Luma (1, H, W) of at most 300x400 pixels, blurred as for a search."""
    part = np.ascontiguousarray(planes[0][:300, :400], np.float32)
    return torch.from_numpy(cv2.GaussianBlur(part, (0, 0), 1.5)).round()[None]


def compare(clip: Path) -> None:
    """Flow from a clip's first frame to its third: both forms beside float64, and each other."""
    frames = read_planes(clip)
    one, _, other = (luma(next(frames)) for _ in range(3))
    kernels, plain = (flow_by(form, one, other) for form in (KernelPatches, Patches))
    exact = flow_by(Patches, one.double(), other.double()).float()
    cells = []
    for first, second in ((kernels, plain), (plain, exact), (kernels, exact)):
        distance = (first - second).norm(dim=1)
        cells.append(f"{distance.mean():.6f} | {100 * (distance > 0.1).float().mean():.2f} %")
    sys.stdout.write(f"| {clip.stem} | " + " | ".join(cells) + " |\n")


def main() -> None:
    if clips := sys.argv[1:]:
        # The interpreter takes the same time for many.
        compiled_kernels.patch_kernels.PATCHES, compiled_kernels.patch_kernels.PIXELS = 4096, 65_536
        torch.set_num_threads(1)
        for clip in clips:
            compare(Path(clip))
        return
    out = sys.stdout.write
    out("| kernel | patches or pixels | warps | registers | stack | shared | shuffles | loads ")
    out("| at a time |\n|---|" + "--:|" * 8 + "\n")
    for name, each, warps in SHAPES:
        made = compiled_kernels.compiled(name, each, warps)
        held = each * at_a_time(made.registers, warps)
        out(f"| {name} | {each} | {warps} | {made.registers} | {made.stack_bytes} ")
        out(f"| {made.shared_bytes} | {made.shuffles} | {made.loads} | {held} |\n")
    for name, form in (("plain", Patches), ("kernels", KernelPatches)):
        out(f"{name}: {operations(form, 1080, 1920)} operations at 1920x1080\n")


if __name__ == "__main__":
    main()
