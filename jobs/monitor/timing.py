"""The time spent in each stage of a run, and the estimated time left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from pipeline.runs.measures import STAGES, clip_measures, shard_measures

Facts = dict[str, Any]

SLOWEST = 5


@dataclass
class Pace:
    """Seconds that one worker needs for one megapixel of frames, as measured so far."""

    megapixels: float = 0.0
    seconds: float = 0.0
    workers: int = 1  # that restore at the same time

    def add(self, megapixels: float, figures: Mapping[str, float]) -> None:
        """Count a restored piece. Its stages run at the same time, so only the longest counts."""
        took = [figures.get(f"seconds_{stage}", 0.0) for stage in STAGES]
        if max(took) > 0:
            self.megapixels += megapixels
            self.seconds += max(took)

    def remaining(self, megapixels: float) -> float | None:
        """Return the seconds left with the current workers; None while nothing is measured."""
        if not self.megapixels:
            return None
        return round(megapixels * self.seconds / self.megapixels / self.workers, 1)


def stage_seconds(
    results: Iterable[ClipResult], segments: Iterable[SegmentRecord]
) -> dict[str, float]:
    """Return the seconds of each stage, summed over published clips and single segments."""
    found = [*map(clip_measures, results), *map(shard_measures, segments)]
    names = (*STAGES, "assemble")
    return {name: round(sum(m.get(f"seconds_{name}", 0.0) for m in found), 1) for name in names}


def slowest(results: Iterable[ClipResult]) -> list[Facts]:
    """Return the published clips that took the most seconds per frame."""
    timed: list[Facts] = []
    for result in results:
        frames, seconds = result.number("frames"), result.number("seconds_total")
        if clip_measures(result) and frames and seconds is not None:
            per_frame = round(seconds / frames, 3)
            facts = {"clip_id": result.clip_id, "frames": frames, "seconds": seconds}
            timed.append(facts | {"seconds_per_frame": per_frame})
    return sorted(timed, key=lambda clip: -clip["seconds_per_frame"])[:SLOWEST]


def with_time_left(clips: Sequence[Facts], pace: Pace) -> list[Facts]:
    """Return the clips with their `eta_seconds`. Workers restore them in this order."""
    ahead, timed = 0.0, []
    for clip in clips:
        ahead += clip["megapixels_left"]
        kept = {name: value for name, value in clip.items() if name != "megapixels_left"}
        timed.append(kept | {"eta_seconds": pace.remaining(ahead)})
    return timed
