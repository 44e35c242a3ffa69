"""A published clip to take back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.runs.settings import Settings
from tests.support.media.media_factory import Clip, Sound, write_clip
from tests.support.published import publish, settings_for

FRAMES, CHANGED = 6, 5  # the last frame is as in the source


@pytest.fixture(scope="session")
def reel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    """The folder of a published clip, and the settings of its run. Not to be touched."""
    work = tmp_path_factory.mktemp("undo")
    source = work / "reel.mkv"
    write_clip(source, Clip(frames=FRAMES, sounds=(Sound("pcm_s16le"),), tags={"TITLE": "a"}))
    settings = settings_for(work)
    publish(work, source, settings, changed=CHANGED)
    return work, settings


@pytest.fixture
def out(reel: tuple[Path, Settings], tmp_path: Path) -> str:
    """A copy of its output."""
    return str(shutil.copytree(reel[0] / "out", tmp_path / "out"))
