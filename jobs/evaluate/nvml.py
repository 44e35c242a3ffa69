"""How busy a GPU is and what energy it took, by NVIDIA's management library of the driver.

PyTorch asks it through a package that a bare machine does not have; the library itself is there.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, Self

LIBRARY = "libnvidia-ml.so.1"
SAMPLED = 0.1  # seconds between two looks at how busy a GPU is


class _Rates(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))  # per cent of the last moment


class Gpu:
    """One GPU. What the library does not tell is None."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:  # noqa: ANN401
        self._library, self._handle = library, handle

    @classmethod
    def of(cls, uuid: str, library: Any = None) -> Self | None:  # noqa: ANN401
        """The GPU of a UUID (`GPU-...`); None without the library, or if that does not know it."""
        try:
            library = library or ctypes.CDLL(LIBRARY)
        except OSError:
            return None
        handle = ctypes.c_void_p()
        if library.nvmlInit_v2():
            return None
        failed = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
        return None if failed else cls(library, handle)

    def busy(self) -> float | None:
        """Share of the last moment in which the GPU worked, in [0, 1]."""
        rates = _Rates()
        failed = self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(rates))
        return None if failed else rates.gpu / 100

    def joules(self) -> float | None:
        """The energy that the GPU took since its driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(
            self._handle, ctypes.byref(millijoules)
        )
        return None if failed else millijoules.value / 1000


class Busy(threading.Thread):
    """Looks at how busy a GPU is until it is stopped, and at the energy that it takes."""

    def __init__(self, uuid: str | None) -> None:
        """Without a UUID there is no GPU to look at."""
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._gpu = Gpu.of(uuid) if uuid else None
        self._before = self._gpu.joules() if self._gpu else None
        self._seen: list[float] = []

    def run(self) -> None:
        while self._gpu is not None and not self._over.wait(SAMPLED):
            if (share := self._gpu.busy()) is None:
                return
            self._seen.append(share)

    def stop(self) -> tuple[float | None, float | None]:
        """The mean share of the time in which the GPU worked, and the joules that it took; None if
        it is not known.
        """
        self._over.set()
        self.join()
        after = self._gpu.joules() if self._gpu else None
        joules = None if after is None or self._before is None else after - self._before
        share = round(sum(self._seen) / len(self._seen), 3) if self._seen else None
        return share, joules
