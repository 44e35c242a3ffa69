"""One shard: decode | restore | encode, overlapped on bounded queues.

It runs in a GPU actor of Ray or in this process, and knows neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from itertools import islice, tee
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from models.colour import PixelFormat
from models.copies import GpuSilent
from models.frame_state import Decoded, FrameState
from models.restorer import CONTEXT, Restored, Restorer, limit_threads, unwatched
from pipeline.clip.fields import fields_of, woven
from pipeline.clip.frames import Frame, Planes, Probe
from pipeline.clip.regions import RegionWriter
from pipeline.clip.segment import SegmentRecord, regions_beside
from pipeline.clip.shards import Shard, Span
from pipeline.clip.survey import Survey
from pipeline.detect.change_film import ChangeWriter, beside
from pipeline.detect.change_map import SIDE, ChangeSums, Map, change_map, halved, of_fields
from pipeline.lines import Lines
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.plan.memory import tiles_within
from pipeline.prefetch import Tally, ahead, beside_gpu, timed
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe

CODEC_THREADS = 4  # of the decoder, and of the encoder, beside a GPU
QUEUE_FRAMES = 8  # decoded frames that may wait; also restored frames


class SeekMismatch(Exception):
    """Frames decoded from a seek point differ from those of the survey."""


class _Made(NamedTuple):
    """A frame or field as it will be published, and its change map, halved, if one is made."""

    planes: Planes
    change: Map | None


class ShardRestorer:
    """Restores shards with one loaded model: that of the recipe, or the one that is given."""

    def __init__(
        self, recipe: Recipe, threads: int | None = None, model: Restorer | None = None
    ) -> None:
        if threads is not None:
            limit_threads(threads)
        self.recipe = recipe
        self.restorer = model or Restorer(recipe.model)
        self._side = 0  # of the first tiles to try; 0 is the whole frame

    @property
    def on_gpu(self) -> bool:
        """Whether the model runs on a GPU."""
        return self.restorer.device.type != "cpu"

    @property
    def codec_threads(self) -> int:
        """Threads of the decoder, and of the encoder. Without a GPU, a shard has one core."""
        return CODEC_THREADS if self.on_gpu else 1

    def restore(
        self,
        source: Path,
        survey: Survey,
        shard: Shard,
        segment: Path,
        progress: Callable[[int], None] = lambda frames: None,
        room: int | None = None,
    ) -> SegmentRecord:
        """Write the shard's segment and its regions; return its record. Raises ClipFault.

        The regions lie beside the segment, at `regions_beside`. Without any there is no file.
        `progress` gets the number of restored frames after each one. `room` is the memory in bytes
        that this process may take: the model works in tiles that fit.
        """
        self._side = 0
        if room is not None and not self.on_gpu:  # a GPU tells when its memory is full
            probe = survey.probe
            self._side = tiles_within(room, self.recipe, probe.width, probe.height)
        try:
            try:
                return self._restore(source, survey, shard, segment, progress, seek=True)
            except SeekMismatch:
                return self._restore(source, survey, shard, segment, progress, seek=False)
        except MemoryError as error:
            size = f"{survey.probe.width}x{survey.probe.height}"
            raise ClipFault(Reason.GPU_OOM, f"{size}: {error or 'out of memory'}") from error
        except GpuSilent as error:
            raise ClipFault(Reason.MODEL_TIMEOUT, str(error)) from error

    def _restore(
        self,
        source: Path,
        survey: Survey,
        shard: Shard,
        segment: Path,
        progress: Callable[[int], None],
        seek: bool,
    ) -> SegmentRecord:
        tally = Tally()
        decoded = decode(source, survey, shard, self.recipe.limits, seek, self.codec_threads)
        frames = timed(ahead(timed(decoded, tally, "decode"), QUEUE_FRAMES), tally, "wait")
        writer = SegmentWriter(segment, survey.probe, self.recipe.slices, self.codec_threads)
        with ExitStack() as opened:
            opened.enter_context(writer)
            regions = opened.enter_context(RegionWriter(regions_beside(segment)))
            changes, sums = None, ChangeSums()
            if self.recipe.change_map:
                film = ChangeWriter(beside(segment), survey.probe)
                changes = opened.enter_context(film.closed())
            planes_made = self._planes(frames, survey, shard, tally, regions)
            restored = ahead(timed(planes_made, tally, "model"), QUEUE_FRAMES)
            opened.enter_context(closing(restored))  # its thread adds to the regions: it ends first
            for planes, change in restored:
                started = time.perf_counter()
                writer.write(planes)
                if changes is not None and change is not None:
                    changes.write(change)
                    sums.add(change)
                tally.seconds["encode"] += time.perf_counter() - started
                progress(len(writer.crcs))
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
            **asdict(regions.sums),
            share_changed=sums.share_changed if changes else None,
            share_repaired=sums.share_repaired if changes else None,
        )  # fmt: skip

    def _planes(
        self,
        frames: Iterator[Frame],
        survey: Survey,
        shard: Shard,
        tally: Tally,
        regions: RegionWriter,
    ) -> Iterator[_Made]:
        """The restored planes of every frame of the shard, in order.

        Context frames are read and discarded.
        """
        if self.recipe.strength == 0:
            yield from map(self._unchanged, untouched(frames, shard, tally))
            return
        for span in shard.spans:
            first, last = survey.context(span, CONTEXT)
            # a shard is whole shots or a part of one, so the frames of its spans adjoin
            read = islice(frames, last - first)
            if span.shot.left:
                yield from map(self._unchanged, untouched(read, span, tally))
            elif survey.by_fields:
                yield from self._woven(read, survey, span, tally, regions)
            else:
                yield from self._span(read, survey, Lines.of(survey), span, tally, regions)

    def _woven(
        self,
        frames: Iterable[Frame],
        survey: Survey,
        span: Span,
        tally: Tally,
        regions: RegionWriter,
    ) -> Iterator[_Made]:
        """Restore the fields of each parity as a separate clip, then weave them.

        A field is one instant. No picture that the model gets mixes two instants.
        """
        top, bottom = (
            self._span(
                fields_of(same, parity),
                survey,
                Lines.of(survey, parity),
                span,
                tally,
                regions,
            )
            for parity, same in enumerate(tee(frames))
        )
        for upper, lower in zip(top, bottom, strict=True):
            change = None
            if upper.change is not None and lower.change is not None:
                change = of_fields(upper.change, lower.change)
            yield _Made(woven(upper.planes, lower.planes), change)

    def _span(
        self,
        frames: Iterable[Frame],
        survey: Survey,
        lines: Lines,
        span: Span,
        tally: Tally,
        regions: RegionWriter,
    ) -> Iterator[_Made]:
        """The restored planes of the frames of a span, in order."""
        pixels, fill, shot = pixel_format(survey.probe), survey.fill, survey.shots.index(span.shot)
        apply = partial(
            Decoded,
            pixels=pixels,
            strength=self.recipe.strength,
            monochrome=survey.monochrome,
        )
        stream = self.restorer.run(
            _with_planes(frames, apply, span, fill),
            deflicker=span.shot.flickers,
            missing=fill,
            wanted=range(span.start, span.stop),
            suspects=self.recipe.suspects,
            grain=self.recipe.grain,
            side=self._side,
            accepted=lines.accepted,
            scratches=lines.scratches,
            watch=beside_gpu if self.on_gpu else unwatched,
        )
        for restored in stream:
            planes = cast(Planes, restored.payload)
            applied = self._applied(restored, tally)
            filled = restored.index in fill
            if not filled:  # nothing of a source was there to repair
                regions.add(shot, restored.index, lines.regions(restored))
                applied = lines.kept(planes, applied, survey.probe.pix_fmt)
            change = None
            if self.recipe.change_map:
                depth = survey.probe.bit_depth
                whole = change_map(planes, applied, depth, restored.defects, filled)
                change = halved(whole, rows=lines.parity is None)
            yield _Made(applied, change)

    def _unchanged(self, planes: Planes) -> _Made:
        """A frame of the source, with its change map."""
        rows, columns = planes[0].shape
        size = -(-rows // SIDE), -(-columns // SIDE)
        return _Made(planes, np.zeros(size, np.uint8) if self.recipe.change_map else None)

    def _applied(self, restored: Restored, tally: Tally) -> Planes:
        """The planes with the restored picture applied. Adds the frame's figures to the tally.

        Raises ClipFault(MODEL_NAN).
        """
        if not restored.finite:
            raise ClipFault(Reason.MODEL_NAN, "the model returned NaN or infinity")
        tally.pictures += 1
        tally.source_share += restored.source_share
        tally.defect_share += restored.defect_share
        tally.gains.append(restored.curve.gain)
        if restored.rung not in tally.rungs:
            tally.rungs.append(restored.rung)
        assert restored.planes is not None  # it came as planes
        return restored.planes


def _with_planes(
    frames: Iterable[Frame], apply: Callable[..., Decoded], span: Span, fill: Container[int]
) -> Iterator[FrameState]:
    """Frames for the model. Those of the span carry their own planes; context frames do not."""
    for frame in frames:
        own = span.start <= frame.index < span.stop
        decoded = apply(frame.planes)
        if frame.index in fill:  # nothing of a source is there to keep
            decoded = decoded._replace(strength=1.0)
        yield FrameState.of_planes(frame.index, decoded, frame.planes if own else None)


def untouched(frames: Iterable[Frame], part: Shard | Span, tally: Tally) -> Iterator[Planes]:
    """The source planes of the frames of a part. Context frames are discarded."""
    for frame in frames:
        if not part.start <= frame.index < part.stop:
            continue
        tally.gains.append(1.0)
        tally.pictures += 1
        tally.source_share += 1
        yield frame.planes


def pixel_format(probe: Probe) -> PixelFormat:
    """The colour format of a probed clip's planes."""
    return PixelFormat.of(
        probe.pix_fmt, probe.bit_depth, probe.colorspace, probe.color_range, probe.height
    )


def decode(
    source: Path, survey: Survey, shard: Shard, limits: Limits, seek: bool, threads: int = 1
) -> Iterator[Frame]:
    """The shard's frames with their context, each checked against the survey's CRC-32."""
    first = survey.context(shard.spans[0], CONTEXT)[0]
    last = survey.context(shard.spans[-1], CONTEXT)[1]
    start, begun, conversion = None, 0, survey.conversion
    if seek and first > 0:
        start, begun, conversion = survey.entry(first)
    with Decoder(
        source,
        limits,
        start_pts=start,
        start_index=begun,
        conversion=conversion,
        threads=threads,
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
