"""The time spent in each stage of a run, and the estimated time left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.runs.measures import STAGES, clip_measures, shard_measures

Facts = dict[str, Any]

SLOWEST = 5
MEGA = 1e6


@dataclass
class Pace:
    """Seconds that one worker needs for one megapixel of frames, as measured so far."""

    megapixels: float = 0.0
    seconds: float = 0.0
    workers: int = 1  # that restore at the same time

    def add(self, megapixels: float, record: Mapping[str, Any]) -> None:
        """Count a restored piece. Its stages run at the same time, so only the longest counts."""
        took = [float(record.get(f"seconds_{stage}") or 0.0) for stage in STAGES]
        if max(took) > 0:
            self.megapixels += megapixels
            self.seconds += max(took)

    def remaining(self, megapixels: float) -> float | None:
        """Return the seconds left with the current workers; None while nothing is measured."""
        if not self.megapixels:
            return None
        return round(megapixels * self.seconds / self.megapixels / self.workers, 1)


def stage_seconds(
    rows: Iterable[Mapping[str, Any]], segments: Iterable[Mapping[str, Any]]
) -> Facts:
    """Return the seconds of each stage, summed over published clips and single segments."""
    found = [*map(clip_measures, rows), *map(shard_measures, segments)]
    names = (*STAGES, "assemble")
    return {name: round(sum(m.get(f"seconds_{name}", 0.0) for m in found), 1) for name in names}


def slowest(rows: Iterable[Mapping[str, Any]]) -> list[Facts]:
    """Return the published clips that took the most seconds per frame."""
    timed = [
        {
            "clip_id": row["clip_id"],
            "frames": row["frames"],
            "seconds": row["seconds_total"],
            "seconds_per_frame": round(row["seconds_total"] / row["frames"], 3),
        }
        for row in rows
        if clip_measures(row) and row.get("frames")
    ]
    return sorted(timed, key=lambda clip: -clip["seconds_per_frame"])[:SLOWEST]


def with_time_left(clips: Sequence[Facts], pace: Pace) -> list[Facts]:
    """Return the clips with their `eta_seconds`. Workers restore them in this order."""
    ahead, timed = 0.0, []
    for clip in clips:
        ahead += clip["megapixels_left"]
        kept = {name: value for name, value in clip.items() if name != "megapixels_left"}
        timed.append(kept | {"eta_seconds": pace.remaining(ahead)})
    return timed
