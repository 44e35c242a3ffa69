"""All measurements of a restored clip, taken while its frames are decoded for verification."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from models.colour import PixelFormat
from pipeline.clip.frames import Frame, Luma, Planes, Probe
from pipeline.clip.regions import Box, RepairedBoxes
from pipeline.clip.survey import Survey
from pipeline.detect.frame_changes import ChangeMeter, chroma_of, small_pair
from pipeline.detect.measure import ClipMeasure, planes_to_luma
from pipeline.measures.meter import FrameMeter
from pipeline.media.decoder import Decoder
from pipeline.media.verify import plane_md5
from schemas.errors import ClipFault
from schemas.recipe import Limits


class Meters:
    """All meters of a clip. Takes source and restored frames in order.

    `left`: shots that hold no picture; `skipped`: frames that the source lacks. What several meters
    need of a frame is made once, and a frame that was not changed is measured once.
    """

    def __init__(
        self,
        pix_fmt: str,
        pixels: PixelFormat,
        shot_starts: Sequence[int] = (0,),
        shard_starts: Sequence[int] = (),
        left: Collection[int] = (),
        skipped: Collection[int] = (),
    ) -> None:
        self._pix_fmt, self._depth = pix_fmt, pixels.depth
        self._measure = ClipMeasure(shot_starts, left=left)
        self._departures = ChangeMeter(shot_starts, skipped)
        self._signals = FrameMeter(pixels, shot_starts, shard_starts, skipped)

    def add(
        self,
        before: Planes,
        after: Planes,
        reference: Luma | None = None,
        repaired: Sequence[Box] = (),
    ) -> None:
        """Measure the next frame: its planes, luma of the reference, boxes of its repairs."""
        if all(map(np.array_equal, before, after)):
            after = before
        one = other = self._luma(before)
        colours = [(plane, plane) for plane in chroma_of(before, self._pix_fmt)]
        if after is not before:
            other, now = self._luma(after), chroma_of(after, self._pix_fmt)
            colours = [(old, new) for (old, _), new in zip(colours, now, strict=True)]
        small = small_pair(one, other)
        self._measure.add(one, other, reference, repaired)
        self._departures.add(one, other, colours, self._depth, small)
        self._signals.add((before, after), (one, other), small)

    def _luma(self, planes: Planes) -> Luma:
        return planes_to_luma(planes, self._pix_fmt, self._depth)

    def frames(self) -> list[dict[str, float]]:
        """The measurements of every frame, for tables/frames."""
        meters = self._measure.frames(), self._departures.rows(), self._signals.rows()
        return [{**one, **two, **three} for one, two, three in zip(*meters, strict=True)]

    def summary(self) -> Mapping[str, float]:
        """Those of the clip, for tables/clips."""
        return {**self._measure.summary(), **self._signals.summary()}

    def box(self, frame: int, measure: str) -> Box | None:
        """Where a measure of a frame was found; None if it is of the whole frame."""
        return self._departures.box(frame, measure) or self._signals.box(frame, measure)


@dataclass(frozen=True)
class Measured:
    """The meters of a clip that took all of its frames, and the MD5 of every restored frame."""

    meters: Meters
    md5s: list[str]

    def frames(self) -> list[dict[str, float]]:
        """The measurements of every frame, for tables/frames."""
        return self.meters.frames()

    def summary(self) -> Mapping[str, float]:
        """Those of the clip, for tables/clips."""
        return self.meters.summary()

    def box(self, frame: int, measure: str) -> Box | None:
        """Where a measure of a frame was found; None if it is of the whole frame."""
        return self.meters.box(frame, measure)


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
    depth, boxes, md5s = probe.bit_depth, RepairedBoxes(repairs), list[str]()
    pixels = PixelFormat.of(probe.pix_fmt, depth, probe.colorspace, probe.color_range, probe.height)
    meters = Meters(probe.pix_fmt, pixels, starts, shard_starts, left, survey.fill)
    with Decoder(source, limits, conversion=survey.conversion) as decoder:
        truths = _lumas(reference, probe, limits)
        for frame, (before, after) in enumerate(zip(decoder, output, strict=True)):
            meters.add(before.planes, after.planes, next(truths, None), boxes.of(frame))
            md5s.append(plane_md5(after.planes))
    return Measured(meters, md5s)


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
