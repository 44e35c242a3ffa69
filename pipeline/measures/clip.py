"""All measurements of a restored clip, taken while its frames are decoded for verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from models.colour import PixelFormat
from pipeline.clip.frames import Frame, Luma, Probe
from pipeline.clip.regions import Box, RepairedBoxes
from pipeline.clip.survey import Survey
from pipeline.detect.frame_changes import ChangeMeter, chroma_of
from pipeline.detect.measure import ClipMeasure, planes_to_luma
from pipeline.measures.meter import FrameMeter
from pipeline.media.decoder import Decoder
from pipeline.media.verify import plane_md5
from schemas.errors import ClipFault
from schemas.recipe import Limits


@dataclass(frozen=True)
class Measured:
    """The meters of a clip that took all of its frames, and the MD5 of every restored frame."""

    measure: ClipMeasure
    departures: ChangeMeter
    signals: FrameMeter
    md5s: list[str]

    def frames(self) -> list[dict[str, float]]:
        """The measurements of every frame, for tables/frames."""
        meters = self.measure.frames(), self.departures.rows(), self.signals.rows()
        return [{**one, **two, **three} for one, two, three in zip(*meters, strict=True)]

    def summary(self) -> Mapping[str, float]:
        """Those of the clip, for tables/clips."""
        return {**self.measure.summary(), **self.signals.summary()}

    def box(self, frame: int, measure: str) -> Box | None:
        """Where a measure of a frame was found; None if it is of the whole frame."""
        return self.departures.box(frame, measure) or self.signals.box(frame, measure)


def measured(
    output: Iterator[Frame],
    source: Path,
    reference: Path | None,
    survey: Survey,
    limits: Limits,
    *,
    repairs: Iterable[pa.Table] = (),
    shard_starts: Sequence[int] = (),
) -> Measured:
    """The measurements of source and output. `repairs`: regions, sorted by frame."""
    left = [index for index, shot in enumerate(survey.shots) if shot.left]
    starts, probe = [shot.start for shot in survey.shots], survey.probe
    pix_fmt, depth, boxes = probe.pix_fmt, probe.bit_depth, RepairedBoxes(repairs)
    measure, departures = ClipMeasure(starts, left=left), ChangeMeter(starts, survey.fill)
    pixels = PixelFormat.of(pix_fmt, depth, probe.colorspace, probe.color_range, probe.height)
    signals, md5s = FrameMeter(pixels, starts, shard_starts, survey.fill), list[str]()
    with Decoder(source, limits, conversion=survey.conversion) as decoder:
        truths = _lumas(reference, probe, limits)
        for frame, (before, after) in enumerate(zip(decoder, output, strict=True)):
            one, other = (planes_to_luma(f.planes, pix_fmt, depth) for f in (before, after))
            measure.add(one, other, next(truths, None), boxes.of(frame))
            colours = zip(*(chroma_of(f.planes, pix_fmt) for f in (before, after)), strict=True)
            departures.add(one, other, list(colours), depth)
            signals.add((before.planes, after.planes), (one, other))
            md5s.append(plane_md5(after.planes))
    return Measured(measure, departures, signals, md5s)


def _lumas(reference: Path | None, probe: Probe, limits: Limits) -> Iterator[Luma]:
    """Yield the luma of the reference's frames. Without a reference of the same size, yield none.

    The reference is only for measurements. If it cannot be read, its columns stay empty.
    """
    if reference is None:
        return
    try:
        with Decoder(reference, limits) as decoder:
            found = decoder.probe
            if (found.width, found.height) != (probe.width, probe.height):
                return
            for frame in decoder:
                yield planes_to_luma(frame.planes, found.pix_fmt, found.bit_depth)
    except ClipFault:
        return
