"""Steps and stores that fail, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.store import retry
from pipeline.store.storage import Store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between retries, in seconds. They take no time."""
    slept: list[float] = []
    # of retries alone: other threads of the process go on as they are
    patched = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(retry, "time", patched)
    return slept


def failing(*faults: BaseException | None) -> Callable[[], str]:
    """A step that raises one fault at each try; the last one repeats. None is a success."""
    left = list(faults)

    def step() -> str:
        fault = left.pop(0) if len(left) > 1 else left[0]
        if fault is not None:
            raise fault
        return "done"

    return step


class Killed(BaseException):
    """The process ends here."""


class Mortal(Store):
    """A store that ends the process at one of its writes."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        object.__setattr__(self, "lives", [lives])

    def _spend(self) -> None:
        self.lives[0] -= 1
        if self.lives[0] < 0:
            raise Killed

    def upload(self, path: Path, uri: str | Path) -> None:
        self._spend()
        super().upload(path, uri)

    def write_bytes(self, uri: str | Path, data: bytes) -> None:
        self._spend()
        super().write_bytes(uri, data)

    def create(self, uri: str | Path, data: bytes) -> bool:
        self._spend()
        return super().create(uri, data)

    def delete(self, uri: str | Path) -> None:
        self._spend()
        super().delete(uri)
