"""The out-of-memory ladder: whole frame, smaller and smaller tiles, then the CPU, then no more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from models.network.tiling import Pictures
from models.network.unet import RestorationNet

SIDES = (1024, 512, 256)  # pixels of the tiles that are tried, each with its margin
log = logging.getLogger(__name__)

Attempt = Callable[[RestorationNet, int], Pictures]  # network, side of the tiles -> a frame


@dataclass(frozen=True)
class Rung:
    """Where the network runs, and in tiles of how many pixels a side; 0 is the whole frame."""

    device: str
    side: int

    def __str__(self) -> str:
        tiles = f"tiles of {self.side} pixels" if self.side else "whole frames"
        return f"{tiles} on {self.device}"


class OutOfMemory(MemoryError):
    """Memory is too small on the last rung as well."""


class Ladder:
    """One stream of frames of one size on its way down; it never climbs again."""

    def __init__(self, net: RestorationNet, height: int, width: int) -> None:
        self._nets = {next(net.parameters()).device.type: net}
        sides = [0, *(side for side in SIDES if side < max(height, width))]
        devices = dict.fromkeys((*self._nets, "cpu"))
        self._rungs = [Rung(device, side) for device in devices for side in sides]

    @property
    def rung(self) -> Rung:
        """Where frames are restored now."""
        return self._rungs[0]

    def frame(self, attempt: Attempt) -> Pictures:
        """A frame on the first rung that has memory for it. Raises OutOfMemory."""
        while True:
            try:
                return attempt(self._net(), self.rung.side)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _of_memory(error):
                    raise
                self._down(error)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # after the error, which holds what it could not finish

    def _down(self, error: Exception) -> None:
        tried = self._rungs.pop(0)
        if not self._rungs:
            raise OutOfMemory(f"out of memory with {tried}, the last resort") from error
        log.warning("out of memory with %s, going on with %s", tried, self.rung)

    def _net(self) -> RestorationNet:
        device = self.rung.device
        if device not in self._nets:
            (other,) = self._nets.values()
            self._nets[device] = _on_cpu(other)
        return self._nets[device]


def _on_cpu(net: RestorationNet) -> RestorationNet:
    """A copy that asks nothing of the device that is full."""
    copied = RestorationNet(net.size, net.channels, net.severe)
    copied.load_state_dict({name: value.cpu() for name, value in net.state_dict().items()})
    copied = copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copied.eval().requires_grad_(False)


def _of_memory(error: Exception) -> bool:
    """Also of the CPU's allocator and of cuDNN, whose errors have no type of their own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in ("can't allocate memory", "alloc_failed"))
