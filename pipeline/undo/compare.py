"""Films that show what was changed in a published clip: split, wipe and difference.

The pictures are made of the clip's own planes, so a part that shows the source or the restored file
has exactly its code values in FFV1. H.264 is derived from that as the profile `access`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from pipeline.clip.clip import WITHOUT_PICTURES
from pipeline.clip.frames import Frame, Plane, Planes, Probe, to_ms
from pipeline.clip.scan import scan_order
from pipeline.media.decoder import Decoder
from pipeline.media.deriver import derive
from pipeline.media.muxer import assemble
from pipeline.media.planes import chroma_steps
from pipeline.media.profiles import FORMS, refusal
from pipeline.media.segments import SegmentWriter
from pipeline.proof.fixity import local_file
from pipeline.sources.fetch import fetched
from pipeline.store import cache, storage
from pipeline.store.private import private_folder, temporary
from pipeline.undo.published import PublishedClip, last_result, published
from schemas.errors import ArchiveError
from schemas.reasons import Reason

Kind = Literal["split", "wipe", "difference"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES = {".mkv": "preservation", ".mp4": "access"}
SWEEP_SECONDS = 4.0  # in which the line of a wipe crosses the picture
TAGS = {"RESTORATION": "comparison of source and restored file; neither of them"}
LABEL_SHARE = 24  # height of a picture over the height of its label


@dataclass(frozen=True)
class Comparison:
    """What to show. `factor`: how many times stronger a difference is shown."""

    kind: Kind
    frames: range | None = None  # None: all
    factor: int = 4
    restricted: bool = False  # whether a restricted clip may be shown


def check(clip: str, out: str, wanted: Comparison, to: Path) -> PublishedClip:
    """The clip, if the film can be made. Raises ArchiveError."""
    if to.suffix not in SUFFIXES:
        raise ArchiveError(f"--to {to}: give a file that ends in {' or '.join(SUFFIXES)}")
    if to.exists():
        raise ArchiveError(f"--to {to} exists: give another name")
    if not to.absolute().parent.is_dir():
        raise ArchiveError(f"--to {to}: the folder does not exist")
    found = published(clip, out)
    last = last_result(clip, out)
    if last is not None and last.reason is Reason.EMBARGOED:
        raise ArchiveError(f"{clip} is under embargo: its source may not be read before that date")
    access = (last.columns if last else found.row).get("access_class")
    if access in WITHOUT_PICTURES and not wanted.restricted:
        raise ArchiveError(f"{clip} is {access}: its pictures may leave only with --restricted")
    survey, count = found.survey, len(found.survey.pts)
    if wanted.frames and wanted.frames.stop > count:
        last_frame = wanted.frames.stop - 1
        raise ArchiveError(f"frame {last_frame} is not in the clip: its last frame is {count - 1}")
    why = ""
    if to.suffix == ".mp4":
        order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
        why = refusal(FORMS["access"], survey.probe, order)
    if why:
        raise ArchiveError(f"--to {to}: MP4 cannot hold {why}; give a file that ends in .mkv")
    return found


def write_film(clip: str, out: str, wanted: Comparison, to: Path) -> int:
    """Write the film and return its number of frames. Raises ArchiveError or ClipFault.

    The film of a whole clip has its sound.
    """
    found = check(clip, out, wanted, to)
    survey, limits = found.survey, found.recipe.limits
    copies = private_folder("sources")
    try:
        with (
            fetched(survey.source_uri, copies) as source,
            local_file(found.uri) as master,
            temporary("compare-") as folder,
        ):
            segment, film = Path(folder) / "segment.mkv", Path(folder) / f"{clip}.mkv"
            frames = wanted.frames or range(len(survey.pts))
            with (
                Decoder(source, limits, conversion=survey.conversion) as before,
                Decoder(master, limits) as after,
                SegmentWriter(segment, survey.probe, found.recipe.slices) as writer,
            ):
                for planes in _pictures(before, after, survey.probe, wanted, frames):
                    writer.write(planes)
            pts = survey.pts[frames.start : frames.stop]
            pts = pts if wanted.frames is None else [at - pts[0] for at in pts]
            sound = source if wanted.frames is None else segment
            report = assemble([segment], sound, survey.probe, pts, film, TAGS, limits)
            if to.suffix == ".mp4":
                times = [to_ms(at, survey.probe.time_base) + report.shift_ms for at in pts]
                order = scan_order(survey.probe, survey.by_fields, survey.scan_measured)
                with Decoder(film, limits, count=0) as decoder:
                    probe = decoder.probe
                film = derive("access", film, probe, order, times, Path(folder), limits).path
            storage.upload(film, to.absolute())
    finally:
        cache.discard(survey.source_uri, copies)
    return len(pts)


def _pictures(
    before: Decoder, after: Decoder, probe: Probe, wanted: Comparison, frames: range
) -> Iterator[Planes]:
    """The pictures of the film, in order."""
    pairs: Iterator[tuple[Frame, Frame]] = zip(before, after, strict=False)
    texts = {"difference": ("", f"difference x{wanted.factor}")}.get(
        wanted.kind, ("source", "restored")
    )
    label = _label(probe, *texts)
    sweep = max(1, round(SWEEP_SECONDS * probe.fps))
    for number, (source, restored) in enumerate(islice(pairs, frames.start, frames.stop)):
        if wanted.kind == "difference":
            planes = difference(source.planes, restored.planes, probe, wanted.factor)
        else:
            at = number % (2 * sweep) / sweep
            share = 0.5 if wanted.kind == "split" else min(at, 2 - at)
            planes = split(source.planes, restored.planes, probe, share)
        yield _marked(planes, probe, label)


def split(source: Planes, restored: Planes, probe: Probe, share: float) -> Planes:
    """The source left of a white line at `share` of the width, the restored picture right of it.

    The line is as wide as two chroma samples and cuts none.
    """
    across, _ = chroma_steps(probe.pix_fmt)
    edge = int(share * probe.width) // across * across
    line = np.zeros(source[0].shape, bool)
    line[:, max(0, edge - across) : edge + across] = 0 < edge < probe.width
    planes = []
    for number, (left, right) in enumerate(zip(source, restored, strict=True)):
        plane = right.copy()
        at = edge // across if number else edge
        plane[:, :at] = left[:, :at]
        planes.append(plane)
    return _marked(tuple(planes), probe, line)


def difference(source: Planes, restored: Planes, probe: Probe, factor: int) -> Planes:
    """The change of every sample around the middle of its range, `factor` times as strong."""
    top = (1 << probe.bit_depth) - 1
    planes = []
    for before, after in zip(source, restored, strict=True):
        change = after.astype(np.int64) - before
        planes.append(np.clip((top + 1) // 2 + factor * change, 0, top).astype(after.dtype))
    return tuple(planes)


def _marked(planes: Planes, probe: Probe, mask: Plane) -> Planes:
    """The planes with white where `mask` (H, W) is set."""
    if not mask.any():
        return planes
    across, along = chroma_steps(probe.pix_fmt)
    yuv = probe.pix_fmt.startswith("yuv")
    white, neutral = (1 << probe.bit_depth) - 1, 1 << (probe.bit_depth - 1)
    if yuv and probe.color_range != 2:
        white = 235 << (probe.bit_depth - 8)
    marked = []
    for number, plane in enumerate(planes):
        chroma = yuv and number > 0
        shown = mask[:: along if chroma else 1, :: across if chroma else 1]
        marked.append(np.where(shown, neutral if chroma else white, plane).astype(plane.dtype))
    return tuple(marked)


def _label(probe: Probe, left: str, right: str) -> Plane:
    """Where the words stand, (H, W): one at the left, one at the right of the lower edge."""
    mask = np.zeros((probe.height, probe.width), np.uint8)
    size = max(1, probe.height // LABEL_SHARE)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 22
    thick = max(1, round(scale * 2))
    (wide, _), _ = cv2.getTextSize(right, font, scale, thick)
    y = probe.height - size
    cv2.putText(mask, left, (size, y), font, scale, 1, thick)
    cv2.putText(mask, right, (max(0, probe.width - size - wide), y), font, scale, 1, thick)
    return mask.astype(bool)
