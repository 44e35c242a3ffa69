"""Fixtures for tests of commands."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Return a function that replaces `pipeline.flow.run`."""

    def put(run: Callable[..., dict[str, Any]]) -> None:
        fake = types.ModuleType("pipeline.flow")
        fake.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pipeline.flow", fake)

    return put
