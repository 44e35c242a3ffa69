"""The values that cross from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from schemas.reasons import Reason

# resumed: restored by an earlier session; dropped: another shard of the clip has failed
Outcome = Literal["restored", "resumed", "dropped"]


@dataclass(frozen=True)
class ShardTask:
    """A shard to restore."""

    clip: Clip
    shard: int
    frames: int
    shards: int  # of the clip
    clip_frames: int
    survey: str = ""  # of a clip of one shard, as JSON, unless it is long: saves reading it again

    @property
    def clip_id(self) -> str:
        return self.clip.clip_id


@dataclass(frozen=True)
class ShardDone:
    """A shard whose segment is in the ledger, or which is no longer needed."""

    task: ShardTask
    outcome: Outcome
    figures: Mapping[str, float]  # see pipeline.runs.measures; empty unless restored now
    segment: SegmentRecord | None = None  # of a clip of one shard, if it was restored now

    @property
    def clip_id(self) -> str:
        return self.task.clip_id


@dataclass(frozen=True)
class ClipEnded:
    """A clip whose result is in the ledger."""

    clip_id: str
    result: ClipResult | None = field(default=None, compare=False)  # if this value ended it


@dataclass(frozen=True)
class ClipLeft:
    """A clip that this session does not finish. The next session tries it again."""

    clip_id: str
    reason: Reason
    sentence: str = ""  # the store's fault, if the clip's result could not be written


Item = Clip | ShardTask | ShardDone | ClipEnded | ClipLeft
