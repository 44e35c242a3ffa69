"""Which engine follows motion on a device."""

from __future__ import annotations

import torch

from models.motion.engine import Engine
from models.motion.opencv import OPENCV
from models.motion.tensors import Tensors


def engine_of(device: torch.device, tensors: bool | None = None) -> Engine:
    """OpenCV for a CPU and tensors for a GPU, or as ``tensors`` says."""
    if tensors is None:
        tensors = device.type == "cuda"
    if not tensors:
        return OPENCV
    # A GPU would round factors to 10 bits, and the flow of a CPU and of a GPU would part.
    torch.backends.cudnn.allow_tf32 = False
    return Tensors(device)
