"""Kernels of the flow, compiled ahead of time for a GPU that is not there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.motion import patch_kernels

H200 = GPUTarget("cuda", 90, 32)
ALIGNED = [["tt.divisibility", 16]]  # what a launch finds of memory that PyTorch gave
OF_A_PROGRAM = "PATCHES", "PIXELS"


@dataclass(frozen=True)
class Compiled:
    """What a kernel takes of a multiprocessor."""

    registers: int  # of a thread
    stack_bytes: int  # of a thread: what did not fit into registers
    shared_bytes: int  # of a program
    shuffles: int  # instructions in the code, a loop once
    loads: int


def compiled(name: str, each: int, warps: int, target: GPUTarget = H200) -> Compiled:
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
    made = triton.compile(source, target=target, options={"num_warps": warps})
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
