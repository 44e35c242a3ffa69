"""The record of a restored shard, which the restore stage passes to the assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    uri: str = ""  # of the segment's media file
    sha256: str = ""
    retries: int = 0  # attempts before this one
    seconds_cpu: float = 0.0
    seconds_gpu: float = 0.0  # for which a GPU was held

    @property
    def frames(self) -> int:
        """Frames in the segment."""
        return self.stop - self.start


Segments = Mapping[int, SegmentRecord]  # of one clip, by shard, in order
