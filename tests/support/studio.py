"""A clip through every stage in this process, without Ray, and what came out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.assemble import assemble_clip
from pipeline.clip.shards import plan_shards
from pipeline.restore import ShardRestorer
from pipeline.runs.run import Run
from pipeline.runs.settings import Settings
from pipeline.store import storage
from pipeline.survey import Survey, survey_clip
from schemas.recipe import Recipe


@dataclass(frozen=True)
class Restored:
    """A published clip."""

    survey: Survey
    row: dict[str, Any]
    path: Path
    framemd5: str


class Studio:
    """Every stage, one clip at a time."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        work = Run.open("manifest.csv", [], str(folder), recipe, lambda event: None)
        self.settings: Settings = work.settings
        self.restorer = ShardRestorer(recipe, 1)

    def survey(self, source: Path, **row: Any) -> Survey:
        clip = {"clip_id": clip_id(source), "source_uri": str(source), **row}
        return survey_clip(clip, self.recipe, self.folder / "cache")

    def publish(self, source: Path, **row: Any) -> Restored:
        """The clip through all stages. Raises ClipFault."""
        name, records = clip_id(source), {}
        survey = self.survey(source, **row)
        for shard in plan_shards(survey.shots, self.recipe.shard_frames):
            path = self.folder / f"{name}-{shard.index}.mkv"
            record = self.restorer.restore(source, survey, shard, path)
            records[shard.index] = record | {"uri": str(path)}
        clip = {"clip_id": name, "source_uri": str(source), **row}
        published = assemble_clip(clip, survey, records, self.settings)
        text = storage.read_bytes(self.settings.clip_uri(clip, ".framemd5")).decode()
        return Restored(survey, published, Path(self.settings.clip_uri(clip)), text)


def clip_id(source: Path) -> str:
    return source.stem.replace("%", "")
