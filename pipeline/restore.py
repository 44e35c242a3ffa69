"""One shard: decode | restore | encode, overlapped on bounded queues. The body of a GPU actor,
without Ray.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.colour import Image, PixelFormat
from models.restorer import CONTEXT, Restored, Restorer, limit_threads
from pipeline.clip.fields import fields_of, woven
from pipeline.clip.frames import Frame, Probe
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.shards import Shard, Span
from pipeline.clip.survey import Survey
from pipeline.detect.blanking import Blanking
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.prefetch import Tally, ahead, timed
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe

Planes = tuple[NDArray[Any], ...]

QUEUE_FRAMES = 8  # decoded, and restored, frames that may wait


class SeekMismatch(Exception):
    """Frames decoded from a seek point are not those the survey saw."""


class ShardRestorer:
    """Restores shards with one loaded model."""

    def __init__(self, recipe: Recipe, threads: int | None = None) -> None:
        if threads is not None:
            limit_threads(threads)
        self.recipe = recipe
        self.restorer = Restorer(recipe.model)

    @property
    def on_gpu(self) -> bool:
        """Whether the model runs on a GPU."""
        return self.restorer.device.type != "cpu"

    def restore(self, source: Path, survey: Survey, shard: Shard, segment: Path) -> SegmentRecord:
        """Write the shard's segment and return its record. Raises ClipFault."""
        try:
            try:
                return self._restore(source, survey, shard, segment, seek=True)
            except SeekMismatch:
                return self._restore(source, survey, shard, segment, seek=False)
        except MemoryError as error:
            size = f"{survey.probe.width}x{survey.probe.height}"
            raise ClipFault(Reason.GPU_OOM, f"{size}: {error or 'out of memory'}") from error

    def _restore(
        self, source: Path, survey: Survey, shard: Shard, segment: Path, seek: bool
    ) -> SegmentRecord:
        tally = Tally()
        decoded = decode(source, survey, shard, self.recipe.limits, seek)
        frames = timed(ahead(timed(decoded, tally, "decode"), QUEUE_FRAMES), tally, "wait")
        restored = ahead(
            timed(self._planes(frames, survey, shard, tally), tally, "model"), QUEUE_FRAMES
        )
        writer = SegmentWriter(segment, survey.probe, self.recipe.slices)
        with writer:
            for planes in restored:
                started = time.perf_counter()
                writer.write(planes)
                tally.seconds["encode"] += time.perf_counter() - started
        crcs = writer.crcs
        if len(crcs) != len(shard):
            raise ClipFault(
                Reason.FRAME_COUNT,
                f"shard {shard.index} restored {len(crcs)} of {len(shard)} frames",
            )
        sides = [rung.side for rung in tally.rungs if rung.side]
        return SegmentRecord(
            shard.index, shard.start, shard.stop, tuple(crcs),
            seconds_decode=round(tally.seconds["decode"], 3),
            seconds_model=round(tally.seconds["model"] - tally.seconds["wait"], 3),
            seconds_encode=round(tally.seconds["encode"], 3),
            source_share=round(tally.source_share / tally.pictures, 5),
            defect_share=round(tally.defect_share / tally.pictures, 6),
            exposure_gain_min=round(min(tally.gains), 4),
            exposure_gain_max=round(max(tally.gains), 4),
            tile=min(sides, default=None),
            device=tally.rungs[-1].device if tally.rungs else None,
        )  # fmt: skip

    def _planes(
        self, frames: Iterator[Frame], survey: Survey, shard: Shard, tally: Tally
    ) -> Iterator[Planes]:
        """Restored planes of every frame of the shard, in order; context frames are read and
        discarded.
        """
        if self.recipe.strength == 0:
            yield from untouched(frames, shard, tally)
            return
        for span in shard.spans:
            first, last = survey.context(span, CONTEXT)
            read = islice(frames, last - first)
            if span.shot.left:
                yield from untouched(read, span, tally)
            elif survey.by_fields:
                yield from self._woven(read, survey, span, first, tally)
            else:
                yield from self._span(read, survey, survey.blanking, span, first, tally)

    def _woven(
        self, frames: Iterable[Frame], survey: Survey, span: Span, first: int, tally: Tally
    ) -> Iterator[Planes]:
        """The fields of each parity as a clip of its own, woven again: a field is one instant, and
        no picture that the model sees mixes two.
        """
        top, bottom = (
            self._span(
                fields_of(same, parity),
                survey,
                survey.blanking.of_field(parity, survey.probe.height),
                span,
                first,
                tally,
            )
            for parity, same in enumerate(tee(frames))
        )
        for pair in zip(top, bottom, strict=True):
            yield woven(*pair)

    def _span(
        self,
        frames: Iterable[Frame],
        survey: Survey,
        blanking: Blanking,
        span: Span,
        first: int,
        tally: Tally,
    ) -> Iterator[Planes]:
        pixels = pixel_format(survey.probe)
        waiting: deque[Planes] = deque()
        own = range(span.start, span.stop)  # the frames around them are read and discarded

        def images() -> Iterator[Image]:
            for frame in frames:
                if frame.index in own:
                    waiting.append(frame.planes)
                yield pixels.to_rgb(frame.planes)

        deflicker = span.shot.flickers
        fill = survey.fill
        stream = self.restorer.stream(
            images(), deflicker=deflicker, first_index=first, missing=fill, wanted=own
        )
        for index, restored in enumerate(stream, start=span.start):
            planes = waiting.popleft()
            strength = 1.0 if index in fill else self.recipe.strength
            applied = self._applied(pixels, planes, restored, strength, survey.monochrome, tally)
            yield applied if index in fill else blanking.kept(planes, applied)

    def _applied(
        self,
        pixels: PixelFormat,
        planes: Planes,
        restored: Restored,
        strength: float,
        monochrome: bool,
        tally: Tally,
    ) -> Planes:
        if not np.isfinite(restored.image.sum()):
            raise ClipFault(Reason.MODEL_NAN, "the model returned values that are not numbers")
        tally.pictures += 1
        tally.source_share += restored.source_share
        tally.defect_share += restored.defect_share
        tally.gains.append(restored.curve.gain)
        if restored.rung not in tally.rungs:
            tally.rungs.append(restored.rung)
        before = pixels.to_rgb(planes)
        return pixels.apply(planes, before, restored.image, strength, monochrome)


def untouched(frames: Iterable[Frame], part: Shard | Span, tally: Tally) -> Iterator[Planes]:
    """The own planes of the frames that are not context."""
    for frame in frames:
        if not part.start <= frame.index < part.stop:
            continue
        tally.gains.append(1.0)
        tally.pictures += 1
        tally.source_share += 1
        yield frame.planes


def pixel_format(probe: Probe) -> PixelFormat:
    """How to read the planes of a probed clip as colour."""
    return PixelFormat.of(
        probe.pix_fmt, probe.bit_depth, probe.colorspace, probe.color_range, probe.height
    )


def decode(
    source: Path, survey: Survey, shard: Shard, limits: Limits, seek: bool
) -> Iterator[Frame]:
    """The shard's frames with their context, each checked against the survey's CRC-32."""
    first = survey.context(shard.spans[0], CONTEXT)[0]
    last = survey.context(shard.spans[-1], CONTEXT)[1]
    start, begun, conversion = None, 0, survey.conversion
    if seek and first > 0:
        start, begun, conversion = survey.entry(first)
    with Decoder(
        source, limits, start_pts=start, start_index=begun, conversion=conversion
    ) as decoder:
        for frame in decoder:
            if frame.index < first:
                continue
            if frame.index >= last:
                return
            if frame.crc32 != survey.crc32[frame.index]:
                if start is not None:
                    raise SeekMismatch
                raise ClipFault(
                    Reason.DECODE_ERROR,
                    f"frame {frame.index} decodes to another picture than in the survey",
                )
            yield frame
