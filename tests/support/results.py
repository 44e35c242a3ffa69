"""Runs, clips, segments and results without media."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.clip.clip import Clip
from pipeline.clip.result import Cell, ClipResult
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.tasks import ClipEnded
from pipeline.runs.events import Event
from pipeline.runs.results import common_columns
from pipeline.runs.run import Run
from pipeline.runs.settings import Settings
from pipeline.store.retry import NIGHTLY
from schemas.recipe import Recipe


def quiet(event: Event) -> None:
    """Ignore the progress of a run."""


def made(summary: Mapping[str, Any]) -> int:
    """The clips of a run whose files it made. A clip in which nothing changed is untouched."""
    return int(summary["clips"]["published"] + summary["clips"]["untouched"])


def run_of(folder: Path, count: int) -> Run:
    """A run of the clips c0, c1, ... into FOLDER/out. Their sources do not exist."""
    clips = [Clip(f"c{n}", f"{folder}/c{n}.mkv") for n in range(count)]
    return Run.open("m.csv", clips, str(folder / "out"), Recipe(), quiet, NIGHTLY)


def a_result(clip: str = "a", state: str = "published", **columns: Cell) -> ClipResult:
    """The result of a clip, with the columns that a ledger needs."""
    return ClipResult({"clip_id": clip, "run": "", "state": state, **columns})


def published(clip: Clip, settings: Settings) -> ClipResult:
    """The result of a published clip, without facts of its source."""
    return ClipResult(common_columns(clip, settings, "published"))


def a_segment(shard: int = 0, uri: str = "x", retries: int = 0) -> SegmentRecord:
    """The record of a segment of ten frames."""
    return SegmentRecord(
        shard, 10 * shard, 10 * shard + 10, tuple(range(10)),
        seconds_decode=1.0, seconds_model=5.0, seconds_encode=2.0, source_share=0.9,
        defect_share=0.01, exposure_gain_min=1.0, exposure_gain_max=1.0, uri=uri,
        sha256="0" * 64, retries=retries, seconds_cpu=8.0,
    )  # fmt: skip


def end(work: Run, result: ClipResult) -> None:
    """End a clip: commit its result as the last stage does, and pass it to the driver."""
    work.settings.ledger.commit_clip(result)
    work.take(ClipEnded(result.clip_id))
