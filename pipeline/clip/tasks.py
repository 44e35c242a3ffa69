"""What crosses from stage to stage while a clip is worked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.clip.clip import Clip
from schemas.reasons import Reason

# restored now, or by an earlier session; dropped: another shard of the clip has failed
Outcome = Literal["restored", "resumed", "dropped"]


@dataclass(frozen=True)
class ShardTask:
    """A shard to restore."""

    clip: Clip
    shard: int
    frames: int
    shards: int  # of the clip
    clip_frames: int

    @property
    def clip_id(self) -> str:
        return self.clip.clip_id


@dataclass(frozen=True)
class ShardDone:
    """A shard whose segment is in the ledger, or that is not needed any more."""

    task: ShardTask
    outcome: Outcome
    figures: Mapping[str, float]  # see pipeline.runs.measures; empty unless restored now

    @property
    def clip_id(self) -> str:
        return self.task.clip_id


@dataclass(frozen=True)
class ClipEnded:
    """A clip whose result is in the ledger."""

    clip_id: str


@dataclass(frozen=True)
class ClipLeft:
    """A clip that this session does not finish; another session begins with it again."""

    clip_id: str
    reason: Reason
    sentence: str = ""  # of the store, where the clip's end could not be written


Item = Clip | ShardTask | ShardDone | ClipEnded | ClipLeft
