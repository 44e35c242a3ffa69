"""Clips restored through all stages in this process, without Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.survey import Survey
from pipeline.local import LocalExecutor
from pipeline.runs.run import Run
from pipeline.runs.settings import Settings
from pipeline.store import storage
from pipeline.survey import survey_clip
from schemas.recipe import Recipe


@dataclass(frozen=True)
class PublishedClip:
    """A published clip."""

    survey: Survey
    result: ClipResult
    path: Path
    framemd5: str

    @property
    def row(self) -> dict[str, Any]:
        """Its row of tables/clips."""
        return dict(self.result.columns)


class Studio:
    """Restores one clip at a time through all stages."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.executor = LocalExecutor()
        self.settings: Settings = self._open().settings
        self.restorer = self.executor.restorers.of(recipe)

    def survey(self, source: Path, **row: Any) -> Survey:
        return survey_clip(clip_of(source, **row), self.recipe, self.folder / "cache")

    def publish(self, source: Path, **row: Any) -> PublishedClip:
        """Take the clip through all stages. Raises ClipFault."""
        clip = clip_of(source, **row)
        work = self._open(clip)
        result = self.executor.result(work, clip)
        self.settings = replace(work.settings, published=None)  # as a later session sees it
        survey = work.settings.ledger.survey(clip.clip_id)
        work.close()
        text = storage.read_bytes(work.settings.clip_uri(clip, ".framemd5")).decode()
        return PublishedClip(survey, result, Path(work.settings.clip_uri(clip)), text)

    def _open(self, *clips: Clip) -> Run:
        return Run.open("manifest.csv", clips, str(self.folder), self.recipe, lambda event: None)


def clip_of(source: Path, **row: Any) -> Clip:
    return Clip(source.stem.replace("%", ""), str(source), **row)
