"""Clips that several modules read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.trips import PAL, Trip, make_trip


@pytest.fixture(scope="module")
def pal(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    folder = tmp_path_factory.mktemp("pal")
    write_clip(folder / "source.mkv", PAL)
    return make_trip(folder / "source.mkv", folder)


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.mkv"
    write_clip(path, Clip(frames=50, width=96, height=64))
    return path
