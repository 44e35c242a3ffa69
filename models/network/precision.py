"""Where convolutions run in bfloat16: on a GPU, and on a CPU that multiplies it in hardware.

Three fifths of the time of single precision there, for a picture that differs by less than a code
value on average; on a CPU without such instructions bfloat16 is slower, so it stays with single
precision.
"""

from __future__ import annotations

from functools import cache

import torch

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def half(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where the device has it, and nothing elsewhere."""
    native = device.type == "cuda" or (device.type == "cpu" and on_cpu())
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def single(device: torch.device) -> torch.autocast:
    """Single precision within ``half``: what is added to the source itself."""
    return torch.autocast(device.type, enabled=False)


@cache
def on_cpu() -> bool:
    """Whether this machine's CPU multiplies bfloat16."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in INSTRUCTIONS)
