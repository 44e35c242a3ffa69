"""What the program itself puts back before it publishes: parts of a clip that must stay the source.

The source and the segments are decoded side by side, and the segments that are concerned are
written anew. The assembly then joins, decodes and compares them like any others. Nothing is
published before, so a crash in between loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.clip.box import Box, put_back
from pipeline.clip.frames import Frame, Planes
from pipeline.clip.put_back import Plan, PutBack
from pipeline.clip.regions import SCHEMA, batches
from pipeline.clip.segment import RegionSums, SegmentRecord, Segments, regions_beside
from pipeline.clip.survey import Survey
from pipeline.detect.change_film import ChangeWriter, beside, maps
from pipeline.detect.change_map import ChangeSums
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.undo.changes import cleared
from pipeline.undo.regions import left_as_suspects, sums
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe

AROUND = 6  # pixels around the box of a region that its repair changes


def rewritten(
    segments: Segments, plan: Plan, survey: Survey, source: Path, recipe: Recipe, folder: Path
) -> Segments:
    """The segments with the source's pixels where the plan says. Raises ClipFault.

    The files of `segments` are local. New ones are written to `folder`, with their regions and
    their change maps; segments that the plan does not concern stay as they are.
    """
    made: dict[int, SegmentRecord] = {}
    conversion = survey.conversion
    with Decoder(source, recipe.limits, conversion=conversion) as decoder:
        frames = iter(decoder)
        for number, segment in segments.items():
            own = islice(frames, segment.frames)
            theirs = _concerning(segment, plan)
            if theirs:
                made[number] = _Rewriter(segment, theirs, survey, recipe, folder).made(own)
            else:
                made[number] = segment
                for _ in own:  # the next segment begins after it
                    pass
    return made


def _concerning(segment: SegmentRecord, plan: Plan) -> Plan:
    own = range(segment.start, segment.stop)
    return tuple(one for one in plan if one.frames[0] in own or own[0] in one.frames)


class _Rewriter:
    """One segment, written anew."""

    def __init__(
        self, segment: SegmentRecord, plan: Plan, survey: Survey, recipe: Recipe, folder: Path
    ) -> None:
        self.segment, self.plan, self.survey, self.recipe = segment, plan, survey, recipe
        self.path = folder / f"put-back-{segment.shard}.mkv"

    def made(self, source: Iterator[Frame]) -> SegmentRecord:
        """Write it. `source` has its frames."""
        limits = self.recipe.limits
        with (
            Decoder(self.segment.uri, limits) as restored,
            SegmentWriter(self.path, self.survey.probe, self.recipe.slices) as writer,
        ):
            for before, after in zip(source, restored, strict=True):
                if before.crc32 != self.survey.crc32[before.index]:
                    raise ClipFault(
                        Reason.DECODE_ERROR,
                        f"frame {before.index} decodes to another picture than in the survey",
                    )
                writer.write(self._planes(before, after))
        put = self._share()
        whole = put == 1
        made = replace(
            self.segment, uri=str(self.path), sha256="", crc32=tuple(writer.crcs),
            source_share=self.segment.source_share + put * (1 - self.segment.source_share),
            defect_share=self.segment.defect_share * (1 - put),
            exposure_gain_min=1.0 if whole else self.segment.exposure_gain_min,
            exposure_gain_max=1.0 if whole else self.segment.exposure_gain_max,
        )  # fmt: skip
        return self._with_changes(self._with_regions(made))

    def _planes(self, before: Frame, after: Frame) -> Planes:
        planes, pix_fmt = after.planes, self.survey.probe.pix_fmt
        for one in self._of(before.index):
            planes = put_back(planes, before.planes, pix_fmt, one.region)
        for box in self._kept(before.index):
            planes = put_back(planes, after.planes, pix_fmt, box)
        return planes

    def _kept(self, frame: int) -> list[Box]:
        """What stays repaired in a shot that is put back as clean: scratches that stand still, and
        what a person accepted.
        """
        survey = self.survey
        if any(one.rule for one in self._of(frame)):
            return []
        accepted = (box for at, box in map(Box.of_region, survey.accepted) if at == frame)
        standing = (
            Box(*one.box).widened(survey.probe, survey.by_fields)
            for one in survey.scratches if one.start <= frame < one.stop
        )  # fmt: skip
        return [*standing, *(b.grown(AROUND, survey.probe, survey.by_fields) for b in accepted)]

    def _of(self, frame: int) -> Iterator[PutBack]:
        if frame not in self.survey.fill:
            yield from (one for one in self.plan if frame in one.frames)

    def _share(self) -> float:
        """The share of the segment's pixels that were put back, at most."""
        probe, pixels = self.survey.probe, 0
        whole = probe.width * probe.height
        for frame in range(self.segment.start, self.segment.stop):
            boxes = [one.region for one in self._of(frame)]
            pixels += min(whole, sum(whole if box is None else box.pixels for box in boxes))
        return pixels / (whole * self.segment.frames)

    def _with_regions(self, made: SegmentRecord) -> SegmentRecord:
        """The regions that lie in what was put back stay as suspects."""
        if not self.segment.regions_uri:
            return made
        path, total = regions_beside(self.path), RegionSums()
        entries = [one.to_dict() for one in self.plan]
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as file:
            for part in batches(Path(self.segment.regions_uri)):
                kept = left_as_suspects(part, entries, self.survey.accepted)
                total += sums([kept])
                file.write_table(kept)
        return replace(made, regions_uri=str(path), **asdict(total))

    def _with_changes(self, made: SegmentRecord) -> SegmentRecord:
        """The change map is 0 where the source's pixels are."""
        if not self.segment.changes_uri:
            return made
        path, total = beside(self.path), ChangeSums()
        with ExitStack() as opened:
            writer = opened.enter_context(ChangeWriter(path, self.survey.probe).closed())
            found = maps(Path(self.segment.changes_uri), self.recipe.limits)
            for frame, map_ in enumerate(found, start=self.segment.start):
                new = map_
                for one in self._of(frame):
                    new = cleared(new, one.region, self.survey.probe)
                for box in self._kept(frame):
                    inside = cleared(np.ones_like(new), box, self.survey.probe) == 0
                    new = np.where(inside, map_, new)
                writer.write(new)
                total.add(new)
        return replace(
            made, changes_uri=str(path), share_changed=total.share_changed,
            share_repaired=total.share_repaired,
        )  # fmt: skip
