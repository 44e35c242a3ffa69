"""Shards: the unit of model work. Cuts are never crossed; long shots are split, short ones ride
together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Shot:
    """Frames [start, stop) between two cuts; ``flickers`` says whether its exposure is unsteady,
    ``left`` what it is where it is no picture and left as it is (see ``leader``).
    """

    start: int
    stop: int
    flickers: bool = False
    left: str = ""


@dataclass(frozen=True)
class Span:
    """Frames [start, stop) of one shot that one shard restores; context is read from inside the
    shot only.
    """

    start: int
    stop: int
    shot: Shot

    def context(self, frames: int) -> tuple[int, int]:
        """The span widened by ``frames`` each side, within its shot."""
        return max(self.shot.start, self.start - frames), min(self.shot.stop, self.stop + frames)


@dataclass(frozen=True)
class Shard:
    """A run of consecutive frames: a part of one shot, or several whole shots."""

    index: int
    spans: tuple[Span, ...]

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def stop(self) -> int:
        return self.spans[-1].stop

    def __len__(self) -> int:
        return self.stop - self.start

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def plan_shards(shots: Sequence[Shot], shard_frames: int) -> list[Shard]:
    """Shards of at most ``shard_frames`` frames that cover the shots in order.

    A longer shot is cut into equal parts. The plan depends on nothing but its arguments, so a
    resumed run finds the segments of the run it resumes.
    """
    groups: list[list[Span]] = []
    room = 0
    for shot in shots:
        length = shot.stop - shot.start
        parts = math.ceil(length / shard_frames)
        edges = [shot.start + length * k // parts for k in range(parts + 1)]
        for start, stop in itertools.pairwise(edges):
            if parts == 1 and length <= room:
                groups[-1].append(Span(start, stop, shot))
                room -= length
            else:
                groups.append([Span(start, stop, shot)])
                room = shard_frames - length if parts == 1 else 0
    return [Shard(index, tuple(spans)) for index, spans in enumerate(groups)]
