"""Where a run's time goes, and how long the rest will take, from what is done of it."""

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
    """Seconds that a worker needs for a megapixel of a frame, as measured so far."""

    megapixels: float = 0.0
    seconds: float = 0.0
    workers: int = 1  # that restore at once

    def add(self, megapixels: float, record: Mapping[str, Any]) -> None:
        """Count a restored piece: its stages overlap, so that the longest decides."""
        took = [float(record.get(f"seconds_{stage}") or 0.0) for stage in STAGES]
        if max(took) > 0:
            self.megapixels += megapixels
            self.seconds += max(took)

    def remaining(self, megapixels: float) -> float | None:
        """Seconds for the rest with the workers there are; None while nothing is known."""
        if not self.megapixels:
            return None
        return round(megapixels * self.seconds / self.megapixels / self.workers, 1)


def stage_seconds(
    rows: Iterable[Mapping[str, Any]], segments: Iterable[Mapping[str, Any]]
) -> Facts:
    """Seconds of each stage over all workers: of published clips, and of segments of others."""
    found = [*map(clip_measures, rows), *map(shard_measures, segments)]
    names = (*STAGES, "assemble")
    return {name: round(sum(m.get(f"seconds_{name}", 0.0) for m in found), 1) for name in names}


def slowest(rows: Iterable[Mapping[str, Any]]) -> list[Facts]:
    """The published clips that took longest for a frame."""
    timed = [
        {
            "clip_id": row["clip_id"], "frames": row["frames"], "seconds": row["seconds_total"],
            "seconds_per_frame": round(row["seconds_total"] / row["frames"], 3),
        }
        for row in rows if clip_measures(row) and row.get("frames")
    ]  # fmt: skip
    return sorted(timed, key=lambda clip: -clip["seconds_per_frame"])[:SLOWEST]


def one_after_another(clips: Sequence[Facts], pace: Pace) -> list[Facts]:
    """The clips with their `eta_seconds`: workers take them up in this order."""
    ahead, told = 0.0, []
    for clip in clips:
        ahead += clip["megapixels_left"]
        kept = {name: value for name, value in clip.items() if name != "megapixels_left"}
        told.append(kept | {"eta_seconds": pace.remaining(ahead)})
    return told
