"""A small clip costs few operations of the store: a million of them are made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip.clip import Clip
from pipeline.local import LocalExecutor
from pipeline.runs.run import Run
from pipeline.store.storage import Store
from schemas.recipe import Recipe
from tests.support.media import media_factory

MOST = 20  # for the first clip; the second does not look for a stop


def test_a_small_clip_asks_the_store_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mkv"
    media_factory.write_clip(path, media_factory.Clip(frames=3, width=64, height=48))
    clips = [Clip("a", str(path)), Clip("b", str(path))]
    out = str(tmp_path / "out")
    work = Run.open("m.csv", clips, out, Recipe(strength=0), lambda event: None)
    asked: list[int] = []
    real = Store._try

    def counted(store: Store, operation: Callable[[], Any]) -> Any:
        asked[-1] += 1
        return real(store, operation)

    monkeypatch.setattr(Store, "_try", counted)
    asked.append(0)
    for item in LocalExecutor().items(work):
        work.take(item)
        asked.append(0)
    assert len(work.settings.ledger.done()) == 2
    assert max(asked[:2]) <= MOST, asked
    assert asked[1] > 10  # the counter counts
