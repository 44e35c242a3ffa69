"""Which engine follows motion on a device."""

from __future__ import annotations

import logging

import torch

from models.motion.deflicker import Exposure
from models.motion.engine import Engine
from models.motion.exposure_tensors import TensorExposure
from models.motion.opencv import OPENCV
from models.motion.tensors import Tensors
from models.network.batch import needed

log = logging.getLogger(__name__)


def engine_of(device: torch.device, tensors: bool | None = None) -> Engine:
    """OpenCV for a CPU and tensors for a GPU, or as ``tensors`` says."""
    if tensors is None:
        tensors = device.type == "cuda"
    if not tensors:
        return OPENCV
    # A GPU would round factors to 10 bits, and the flow of a CPU and of a GPU would part.
    torch.backends.cudnn.allow_tf32 = False
    return Tensors(device)


def exposure_of(engine: Engine) -> Exposure:
    """How exposure is measured and corrected where an engine works."""
    return TensorExposure(engine) if isinstance(engine, Tensors) else Exposure()


def with_room(engine: Engine, height: int, width: int) -> Engine:
    """The engine, or OpenCV's if the GPU has no room for pictures of this size."""
    if not isinstance(engine, Tensors) or engine.device.type != "cuda":
        return engine
    free = torch.cuda.mem_get_info(engine.device)[0]
    held = torch.cuda.memory_reserved(engine.device) - torch.cuda.memory_allocated(engine.device)
    return engine if fits(height, width, free + held) else OPENCV


def fits(height: int, width: int, free: int) -> bool:
    """Whether what follows motion in pictures of this size fits into ``free`` bytes of a GPU."""
    if needed(height, width) <= free:
        return True
    log.warning(
        "%dx%d: %d MiB of the GPU are free, too few: motion is followed on the CPU",
        width, height, free >> 20,
    )  # fmt: skip
    return False
