"""The out-of-memory ladder: fewer frames at once, ever smaller tiles, the CPU, then an error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from models.frame_state import Rung
from models.network.need import SIDES
from models.network.unet import RestorationNet

__all__ = ["Ladder", "OutOfMemory", "Rung"]
log = logging.getLogger(__name__)

Result = TypeVar("Result")


class OutOfMemory(MemoryError):
    """Memory is too small on the last rung as well."""


class Ladder:
    """The rungs for one stream of frames of one size; it only goes down.

    It begins with tiles of ``first`` pixels, or for 0 with ``batch`` whole frames at once, a power
    of two. Before each step down ``give_back`` is called, to free what is kept beside the frames.
    """

    def __init__(
        self,
        net: RestorationNet,
        height: int,
        width: int,
        first: int = 0,
        batch: int = 1,
        give_back: Callable[[], None] | None = None,
    ) -> None:
        self._nets = {next(net.parameters()).device.type: net}
        sides = [0, *(side for side in SIDES if side < max(height, width))]
        if first:  # a field is smaller than its frame, so it may have no tiles of this side
            sides = [side for side in sides if 0 < side <= first] or sides
        devices = dict.fromkeys((*self._nets, "cpu"))
        self._rungs = [Rung(device, side) for device in devices for side in sides]
        if not first:
            halves = (batch >> k for k in range(batch.bit_length() - 1))
            self._rungs[:0] = [Rung(next(iter(devices)), 0, count) for count in halves]
        self._give_back = give_back

    @property
    def rung(self) -> Rung:
        """The rung that frames are restored on now."""
        return self._rungs[0]

    def first_that_fits(self, attempt: Callable[[RestorationNet, Rung], Result]) -> Result:
        """Result of ``attempt(network, rung)`` on the first rung with enough memory.

        Raises OutOfMemory.
        """
        while True:
            try:
                return attempt(self._net(), self.rung)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _of_memory(error):
                    raise
                self._down(error)
            if self._give_back is not None:
                self._give_back()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # only now: the error held the unfinished tensors

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
    """A copy on the CPU that needs no memory of the full device."""
    copied = RestorationNet(net.size, net.channels, net.severe)
    copied.load_state_dict({name: value.cpu() for name, value in net.state_dict().items()})
    copied = copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copied.eval().requires_grad_(False)


def _of_memory(error: Exception) -> bool:
    """Whether memory ran out; the CPU's allocator and cuDNN have no error types of their own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in ("can't allocate memory", "alloc_failed"))
