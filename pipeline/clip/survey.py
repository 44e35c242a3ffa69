"""The result of a survey: everything that later stages need to know about a source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from models.frame_state import Scratch
from pipeline.clip.blanking import Blanking
from pipeline.clip.conversion import DONE, Conversion
from pipeline.clip.frames import Probe
from pipeline.clip.shards import CLEAN, Shot, Span
from pipeline.sources.sequence import runs, words
from schemas import strict_json

SMALL_FRAMES, SMALL_PIXELS = 64, 4_000_000  # at most in a small clip; pixels of all its frames


@dataclass(frozen=True)
class Survey:
    """Facts of one source: address, probe, shots, and PTS and CRC-32 of every frame.

    If fields are converted to frames, `probe`, PTS, CRC-32 and shots describe the result.
    """

    clip_id: str
    source_uri: str
    source_sha256: str
    source_token: str  # size and modification mark: shows a change of the source without reading it
    probe: Probe
    pts: list[int]  # in probe.time_base units
    crc32: list[int]  # of each frame's planes
    shots: list[Shot]
    monochrome: bool
    messages: list[str]
    by_fields: bool = False  # restored field by field
    scan_measured: str = "unknown"
    range_measured: str = "unknown"
    recipe_sha256: str = ""  # of the clip's recipe
    surveyed: str = ""  # time of its checksum, ISO 8601 in UTC
    field_order: str = "unknown"  # as the source declares
    conversion: Conversion | None = None
    source_pts: list[int] = field(default_factory=list)  # before a conversion; empty without one
    blanking: Blanking = field(default_factory=Blanking)
    gaps: list[str] = field(default_factory=list)  # missing numbers of a sequence
    fill: list[int] = field(default_factory=list)  # numbers of frames to interpolate
    protect: list[str] = field(default_factory=list)  # boxes that keep the source, `x,y,w,h`
    accepted: list[str] = field(default_factory=list)  # suspects to repair: `frame:x,y,w,h`
    scratches: list[Scratch] = field(default_factory=list)  # that stand still
    source_md5: str = ""  # a later manifest may have it as its checksum

    @property
    def interlace(self) -> str:
        """How interlacing was handled, as a word of tables/clips."""
        if self.conversion is not None:
            return DONE[self.conversion.policy]
        return "fields" if self.by_fields else "progressive"

    @property
    def source_frames(self) -> int:
        """Frames in the source."""
        return len(self.source_pts or self.pts)

    @property
    def filled(self) -> str:
        """The numbers of the filled frames, in words; empty if none."""
        return ", ".join(words(runs(self.fill)))

    @property
    def frames_left(self) -> int:
        """Frames that are published unrestored."""
        return sum(shot.stop - shot.start for shot in self.shots if shot.left)

    @property
    def frames_clean(self) -> int:
        """Frames of shots that were found clean. They are published unrestored."""
        return sum(shot.stop - shot.start for shot in self.shots if shot.left == CLEAN)

    @property
    def small(self) -> bool:
        """Whether doing the clip again costs less than keeping its parts while it is made."""
        frames = len(self.pts)
        pixels = frames * self.probe.width * self.probe.height
        return frames <= SMALL_FRAMES and pixels <= SMALL_PIXELS

    def context(self, span: Span, frames: int) -> tuple[int, int]:
        """The span, widened by ``frames`` on each side within its shot.

        A side that meets frames to fill is widened to the end of their run.
        """
        first, last = span.context(frames)
        while first in self.fill:
            first -= 1
        while last - 1 in self.fill:
            last += 1
        return first, last

    def entry(self, index: int) -> tuple[int, int, Conversion | None]:
        """Where decoding starts for frame `index`.

        Returns a source timestamp, the number of the first frame that comes out, and the
        conversion, adjusted to this start.
        """
        if self.conversion is None:
            return self.pts[index], index, None
        source, first = self.conversion.entry(index)
        return self.source_pts[source], first, self.conversion.begun_at(source)

    def to_json(self) -> bytes:
        """The survey as compact JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["probe"], plain["shots"] = self.probe.to_dict(), [asdict(shot) for shot in self.shots]
        plain["conversion"] = self.conversion and asdict(self.conversion)
        return strict_json.dumps(plain, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Survey:
        """The inverse of `to_json`."""
        return cls.from_plain(json.loads(data))

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Survey:
        """The survey from the values of its JSON."""
        plain = dict(values)
        plain["probe"] = Probe.from_dict(plain["probe"])
        plain["shots"] = [Shot(**shot) for shot in plain["shots"]]
        plain["conversion"] = plain["conversion"] and Conversion(**plain["conversion"])
        plain["blanking"] = Blanking(*plain["blanking"])
        plain["scratches"] = [Scratch(*one) for one in plain["scratches"]]
        return cls(**plain)
