"""Runs without media."""

from __future__ import annotations

from pathlib import Path

from pipeline.clip.clip import Clip
from pipeline.runs.events import Event
from pipeline.runs.run import Run
from pipeline.store.retry import NIGHTLY
from schemas.recipe import Recipe


def quiet(event: Event) -> None:
    """Ignore the progress of a run."""


def run_of(folder: Path, count: int) -> Run:
    """A run of the clips c0, c1, ... into FOLDER/out. Their sources do not exist."""
    clips = [Clip(f"c{n}", f"{folder}/c{n}.mkv") for n in range(count)]
    return Run.open("m.csv", clips, str(folder / "out"), Recipe(), quiet, NIGHTLY)
