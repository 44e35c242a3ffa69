"""Steps that fail, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pipeline.store import retry


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
