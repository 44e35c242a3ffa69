"""The record of a restored shard, which the restore stage passes to the assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RegionSums:
    """How many regions were repaired and how many are suspects, and the largest repair."""

    regions_repaired: int = 0
    suspects: int = 0
    largest_repair: int = 0  # pixels
    largest_repair_frame: int | None = None

    def __add__(self, other: RegionSums) -> RegionSums:
        largest = other if other.largest_repair > self.largest_repair else self
        return RegionSums(
            self.regions_repaired + other.regions_repaired,
            self.suspects + other.suspects,
            largest.largest_repair,
            largest.largest_repair_frame,
        )


@dataclass(frozen=True)
class SegmentRecord:
    """One restored shard: frames [start, stop) of its clip. Times are in seconds."""

    shard: int
    start: int
    stop: int
    crc32: tuple[int, ...]  # of each frame's planes, as sent to the encoder
    seconds_decode: float
    seconds_model: float
    seconds_encode: float
    source_share: float  # mean weight of source pixels in the result, 0 to 1
    defect_share: float  # share of the pixels that the model marked as defects, 0 to 1
    exposure_gain_min: float
    exposure_gain_max: float
    tile: int | None = None  # side in pixels of the smallest tiles used; None for whole frames
    device: str | None = None  # cuda or cpu
    regions_repaired: int = 0
    suspects: int = 0
    largest_repair: int = 0  # pixels
    largest_repair_frame: int | None = None
    regions_uri: str = ""  # of the file with its regions; empty if there are none
    share_changed: float | None = None  # of the pixels, 0 to 1; None without a change map
    share_repaired: float | None = None  # changed as defects
    changes_uri: str = ""  # of its part of the change map; empty without one
    uri: str = ""  # of the segment's media file
    sha256: str = ""
    retries: int = 0  # attempts before this one
    seconds_cpu: float = 0.0
    seconds_gpu: float = 0.0  # for which a GPU was held

    @property
    def regions(self) -> RegionSums:
        """Its regions in numbers."""
        return RegionSums(
            self.regions_repaired, self.suspects, self.largest_repair, self.largest_repair_frame
        )

    @property
    def frames(self) -> int:
        """Frames in the segment."""
        return self.stop - self.start


def regions_beside(segment: Path) -> Path:
    """The file with the regions of a segment, beside its media file."""
    return segment.with_suffix(".parquet")


Segments = Mapping[int, SegmentRecord]  # of one clip, by shard, in order
