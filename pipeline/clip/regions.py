"""The regions that the model repaired or left, and the Parquet file in which a shard's travel.

A frame may have a hundred regions. They go from stage to stage as files, never as rows of a flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clip.details import regions_in
from pipeline.clip.segment import RegionSums
from schemas.columns import with_columns
from schemas.tables import schema

if TYPE_CHECKING:
    from models.frame_state import Repair

_OF_THE_CLIP = ("clip_id", "run")  # columns that the file of a shard lacks
_BUFFERED = 20_000  # rows
SCHEMA = pa.schema([f for f in schema("regions") if f.name not in _OF_THE_CLIP])


Box = tuple[int, int, int, int]  # x, y, width, height in pixels


class LargestRepair(NamedTuple):
    """The largest repaired region of a frame: its share of the frame, and its box."""

    share: float
    box: Box


class RegionWriter:
    """Writes the regions of a shard, in the order of its frames. No region: no file."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if an earlier file at ``path`` cannot be deleted."""
        path.unlink(missing_ok=True)
        self._path, self._rows = path, list[tuple[object, ...]]()
        self._file: pq.ParquetWriter | None = None
        self.sums = RegionSums()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        if self._file is not None:
            self._file.close()

    def add(self, shot: int, frame: int, repairs: Iterable[Repair]) -> None:
        """Add the regions of a frame. Their boxes are in pixels of the frame."""
        for one in repairs:
            self.sums += (
                RegionSums(suspects=1)
                if one.decision == "suspect"
                else RegionSums(1, 0, one.area, frame)
            )
            row = shot, frame, *one.box, one.area, one.bright, round(one.change, 2)
            sure = None if one.probability is None else round(one.probability, 3)
            self._rows.append((*row, one.decision, one.why, sure, one.crowd))
        if len(self._rows) >= _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._file = self._file or pq.ParquetWriter(self._path, SCHEMA, compression="zstd")
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._rows.clear()


def join_regions(parts: Iterable[Path], path: Path) -> None:
    """Write the regions of a clip's shards, in order, to one file."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as joined:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(_BUFFERED):
                    joined.write_table(with_columns(pa.table(batch), SCHEMA))


def read_regions(data: bytes, clip: str, run: str, rows: int) -> Iterator[pa.Table]:
    """The regions of a clip as parts of tables/regions, of at most ``rows`` rows."""
    for part in _tables(data, rows):
        whole = part
        for position, (name, value) in enumerate(zip(_OF_THE_CLIP, (clip, run), strict=True)):
            whole = whole.add_column(position, name, pa.repeat(value, len(whole)))
        yield whole.cast(schema("regions"))


def _tables(data: bytes, rows: int) -> Iterator[pa.Table]:
    """The regions in a Parquet file, or in the result of a small clip, which is JSON."""
    if data.startswith(b"{"):
        yield regions_in(data, SCHEMA)
        return
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        yield from (with_columns(pa.table(b), SCHEMA) for b in file.iter_batches(rows))


def batches(path: Path) -> Iterator[pa.Table]:
    """The regions of a file in parts."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BUFFERED):
            yield with_columns(pa.table(batch), SCHEMA)


def largest_repairs(parts: Iterable[pa.Table], pixels: int) -> Mapping[int, LargestRepair]:
    """The largest repaired region of each frame that has one. `pixels` are those of a picture.

    In a clip restored by fields, a region has the pixels of one field: so has the picture.
    """
    names = ("decision", "frame", "area", "x", "y", "width", "height")
    found: dict[int, LargestRepair] = {}
    for part in parts:
        columns = (part[name].to_pylist() for name in names)
        for decision, frame, area, *box in zip(*columns, strict=True):
            share = area / pixels
            if decision == "repair" and (frame not in found or share > found[frame].share):
                found[frame] = LargestRepair(share, tuple(box))
    return found


class RepairedBoxes:
    """The boxes of the repaired regions of each frame, from parts that are sorted by frame.

    Memory: one part.
    """

    def __init__(self, parts: Iterable[pa.Table]) -> None:
        self._rows = _repairs(parts)
        self._next = next(self._rows, None)

    def of(self, frame: int) -> list[Box]:
        """The boxes of a frame. Frames are asked for in order."""
        found = []
        while self._next is not None and self._next[0] <= frame:
            if self._next[0] == frame:
                found.append(self._next[1])
            self._next = next(self._rows, None)
        return found


def _repairs(parts: Iterable[pa.Table]) -> Iterator[tuple[int, Box]]:
    for part in parts:
        columns = (part[n].to_pylist() for n in ("decision", "frame", "x", "y", "width", "height"))
        for decision, frame, *box in zip(*columns, strict=True):
            if decision == "repair":
                yield frame, tuple(box)
