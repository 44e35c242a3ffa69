"""Fixtures for tests of commands."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest


class RayStandIn:
    """Stands for the Ray executor: it keeps the address and starts nothing."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Return a function that replaces `pipeline.flow.run`."""

    def put(run: Callable[..., dict[str, Any]]) -> None:
        fake = types.ModuleType("pipeline.flow")
        fake.run = run  # type: ignore[attr-defined]
        fake.RayExecutor = RayStandIn  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pipeline.flow", fake)

    return put
