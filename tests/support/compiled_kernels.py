"""Kernels of the flow, compiled ahead of time for a GPU that is not there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.motion import patch_kernels
from models.motion.patch_kernels import KernelPatches
from models.motion.tensor_flow import flow_by

H200 = GPUTarget("cuda", 90, 32)
ALIGNED = [["tt.divisibility", 16]]  # what a launch finds of memory that PyTorch gave
KERNELS = patch_kernels.descend, patch_kernels.choose, patch_kernels.spread
OF_A_PROGRAM = "PATCHES", "PIXELS"


@dataclass(frozen=True)
class Compiled:
    """What a kernel takes of a multiprocessor."""

    registers: int  # of a thread
    stack_bytes: int  # of a thread: what did not fit into registers
    shared_bytes: int  # of a program
    shuffles: int  # instructions in the code, a loop once
    loads: int


class Driver:
    """As much of the driver of an H200 as a launch needs before it launches."""

    def get_current_target(self) -> GPUTarget:
        return H200

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled_by_flows(sizes: Iterable[tuple[int, int]]) -> dict[str, list[Compiled]]:
    """Kernels that flows of these sizes (height, width) have compiled, by name, as they launch
    them.
    """
    made: dict[str, dict[str, Any]] = {kernel.fn.__name__: {} for kernel in KERNELS}

    def launch(
        self: KernelPatches, kernel: Any, groups: Any, *motions: torch.Tensor, **options: int
    ) -> None:
        given = self._one, self._other, *motions, *self._size, *self._shape
        one = kernel.warmup(*given, grid=groups, **options)
        made[kernel.fn.__name__][one.hash] = one

    with (
        mock.patch.object(triton.runtime.driver, "_active", Driver()),
        mock.patch.object(KernelPatches, "_launch", launch),
    ):
        try:
            for size in sizes:
                picture = torch.zeros(1, *size)
                flow_by(KernelPatches, picture, picture)
        finally:
            for kernel in KERNELS:  # the machine may have another GPU
                kernel.device_caches.clear()
    return {name: [_of(one) for one in found.values()] for name, found in made.items()}


def compiled(name: str, each: int, warps: int) -> Compiled:
    """A kernel of `models.motion.patch_kernels` by its name, ``each`` patches or pixels a program.

    Raises what Triton raises if it cannot be compiled.
    """
    kernel = getattr(patch_kernels, name)
    constants = {argument: each for argument in kernel.arg_names if argument in OF_A_PROGRAM}
    types = {
        argument: "constexpr" if argument in constants
        else "i32" if argument in patch_kernels.SIZES else "*fp32"
        for argument in kernel.arg_names
    }  # fmt: skip
    pointers = [(k,) for k, kind in enumerate(types.values()) if kind == "*fp32"]
    source = ASTSource(kernel, types, constants, dict.fromkeys(pointers, ALIGNED))
    return _of(triton.compile(source, target=H200, options={"num_warps": warps}))


def _of(made: Any) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(made.asm["cubin"])
        tool = triton.knobs.nvidia.cuobjdump.path
        told = subprocess.run(
            [tool, "-res-usage", path], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    used = {key: int(value) for key, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", told)}
    code = made.asm["ptx"]
    return Compiled(
        used["REG"],
        used["STACK"] + used["LOCAL"],
        made.metadata.shared,
        code.count("shfl.sync"),
        code.count("ld.global"),
    )
