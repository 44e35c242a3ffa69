"""Shards: units of model work.

A shard never restores across a cut. A long shot is split into several shards, and short shots share
one shard.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

CLEAN = "clean"  # `left` of a shot that needs no repair


@dataclass(frozen=True)
class Shot:
    """Frames [start, stop) between two cuts.

    ``flickers``: its exposure is unsteady. ``left``: why the shot is published unrestored (flat,
    bars, slate, asked or clean); empty if it is restored. ``found``: why the survey does not call
    it clean, as words; empty if it is clean or was not judged.
    """

    start: int
    stop: int
    flickers: bool = False
    left: str = ""
    found: str = ""


@dataclass(frozen=True)
class Span:
    """Frames [start, stop) that one shard restores of one shot.

    Context frames are read from inside the shot only.
    """

    start: int
    stop: int
    shot: Shot

    def context(self, frames: int) -> tuple[int, int]:
        """The span, widened by ``frames`` on each side within its shot."""
        return max(self.shot.start, self.start - frames), min(self.shot.stop, self.stop + frames)


@dataclass(frozen=True)
class Shard:
    """Consecutive frames: a part of one shot, or several whole shots."""

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
    """Cover the shots, in order, with shards of at most ``shard_frames`` frames.

    A longer shot is divided into equal parts. The result depends on the arguments only, so a
    resumed run finds the segments of the run that it resumes.
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
