"""Pictures for the report: frames of a source and of its restored file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.report.film import Film
from models.colour import PixelFormat
from pipeline.clip.conversion import Conversion
from pipeline.clip.frames import Probe
from pipeline.detect.change_map import ADJUSTED, FILLED, REPAIRED, SIDE, Map
from pipeline.media.decoder import Decoder
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

JPEG_BYTES = 100_000
QUALITIES = (92, 88, 84, 78, 70, 60)
SHRINK = 0.8  # factor between two tries of a smaller picture
DIFFERENCE_GAIN = 4  # the difference picture shows changes this many times as strong
THUMB_WIDTH = 192
CUT_SIDE, CUT_MOST = 120, 480  # pixels of the frame in a cut: at least, at most
CUT_SCALE = 2  # a cut is shown at this size if it is small enough
CUT_GAP = 4  # pixels between its halves
BOX_GAP, BOX_COLOUR = 4, (255, 220, 0)  # pixels around the region; RGB
MAP_COLOURS = {ADJUSTED: (70, 140, 255), REPAIRED: (255, 120, 0), FILLED: (250, 230, 90)}  # RGB
MAP_GROUND = 0.4  # brightness of the picture below a change map
MAP_FAINTEST = {ADJUSTED: 0.05, REPAIRED: 0.5, FILLED: 0.3}  # opacity of the smallest change
MAP_DIGITS = 8  # of the largest change


@dataclass(frozen=True)
class Stills:
    """Frames of a clip's source and restored file, and the facts that each file declares."""

    frames: list[Still]
    source: Probe
    restored: Probe
    cuts: list[Picture] = field(default_factory=list)  # of the places asked for


@dataclass(frozen=True)
class Still:
    """One frame before and after, in its own pixels."""

    index: int
    source: Picture
    restored: Picture
    changes: Map | None = None  # its change map, one byte for 2 x 2 pixels

    @property
    def change_map(self) -> Picture | None:
        """The change map over the dark grey source: colour is the reason, opacity the amount."""
        if self.changes is None:
            return None
        height, width = self.source.shape[:2]
        whole = cv2.resize(self.changes, None, fx=SIDE, fy=SIDE, interpolation=cv2.INTER_NEAREST)
        return mapped(self.source, whole[:height, :width])

    @property
    def difference(self) -> Picture:
        """The change of each pixel around mid-grey; grey means no change."""
        return difference(self.source, self.restored)

    def cut(self, place: Place) -> Picture:
        """The surroundings of a place, source and restored side by side, with its box drawn."""
        height, width = self.source.shape[:2]
        side = min(max(CUT_SIDE, 2 * place.width, 2 * place.height), CUT_MOST)
        left = _within(place.x + place.width // 2 - side // 2, side, width)
        top = _within(place.y + place.height // 2 - side // 2, side, height)
        scale = CUT_SCALE if CUT_SCALE * side <= CUT_MOST else 1
        start, stop = (place.x, place.y), (place.x + place.width, place.y + place.height)
        corner = np.array([left, top])
        edges = [
            tuple(int(v) for v in scale * (np.array(point) - corner) + gap)
            for point, gap in ((start, -BOX_GAP), (stop, BOX_GAP - 1))
        ]
        halves = []
        for picture in (self.source, self.restored):
            inside = picture[top : top + side, left : left + side]
            shown = np.ascontiguousarray(inside.repeat(scale, axis=0).repeat(scale, axis=1))
            cv2.rectangle(shown, edges[0], edges[1], BOX_COLOUR, 1)
            halves.append(shown)
        gap = np.full((len(halves[0]), CUT_GAP, 3), 255, np.uint8)
        return np.hstack([halves[0], gap, halves[1]])

    def thumbnail(self, sar: Fraction) -> Picture:
        """Return a small picture in display shape: left half before, right half after."""
        middle = self.source.shape[1] // 2
        both = np.hstack([self.source[:, :middle], self.restored[:, middle:]])
        height, width = both.shape[:2]
        shown = round(THUMB_WIDTH * height / (width * float(sar)))
        small = cv2.resize(both, (THUMB_WIDTH, max(1, shown)), interpolation=cv2.INTER_AREA)
        return small.astype(np.uint8)


def difference(source: Picture, restored: Picture) -> Picture:
    """The change of each pixel around mid-grey, `DIFFERENCE_GAIN` times as strong."""
    change = cv2.subtract(restored, source, dtype=cv2.CV_16S)
    return cv2.convertScaleAbs(cv2.max(change * DIFFERENCE_GAIN + 128, 0)).astype(np.uint8)


def mapped(source: Picture, changes: Map) -> Picture:
    """A change map over the dark grey source. Where it has to shrink, the largest change stays."""
    height, width = source.shape[:2]
    down, across = (-(-n // size) for n, size in zip(changes.shape, (height, width), strict=True))
    if down * across > 1:
        changes = cv2.dilate(changes, np.ones((down, across), np.uint8))
    if changes.shape != (height, width):
        changes = cv2.resize(changes, (width, height), interpolation=cv2.INTER_NEAREST)
    kept, added = _map_tables()
    grey = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY).astype(np.float32) * cv2.LUT(changes, kept)
    colours = cv2.LUT(cv2.merge([changes] * 3), added[None])
    return cv2.add(cv2.merge([grey] * 3), colours).astype(np.uint8)


@cache
def _map_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each byte of a change map: the share of the grey picture (256), and the colour that is
    added to it (256, 3)."""
    values = np.arange(256)
    opacity, colour = np.zeros(256, np.float32), np.zeros((256, 3), np.float32)
    for reason, shown in MAP_COLOURS.items():
        faintest, of_reason = MAP_FAINTEST[reason], (values >> 6 == reason) & (values > 0)
        amount = np.minimum((values & 63) / MAP_DIGITS, 1)
        opacity[of_reason] = (faintest + (1 - faintest) * amount)[of_reason]
        colour[of_reason] = shown
    return MAP_GROUND * (1 - opacity), opacity[:, None] * colour


def _within(start: int, length: int, whole: int) -> int:
    """The start of a part of ``length`` moved so that the part lies in the ``whole``."""
    return max(0, min(start, whole - length))


def begin_middle_end(frames: int) -> list[int]:
    """Return the indices of frames near the beginning, in the middle and near the end."""
    return sorted({frames // 10, frames // 2, frames - 1 - frames // 10} if frames else set())


class Place(NamedTuple):
    """A box of a frame, in its pixels."""

    frame: int
    x: int
    y: int
    width: int
    height: int


def stills(
    source: str | Path,
    restored: str | Path,
    indices: Sequence[int],
    limits: Limits,
    conversion: Conversion | None = None,
    places: Sequence[Place] = (),
    changes: str | Path | None = None,
    film: Film | None = None,
) -> Stills:
    """Return the frames at ``indices`` of both files, and a cut of each place. Write the film.

    ``changes`` is the film with the change map, if there is one. Each file is decoded once. The
    source's frames are taken after the conversion of the clip, such as deinterlacing. Raises
    ClipFault if a file has fewer frames.
    """
    wanted = {*indices, *(place.frame for place in places)}
    count = max([*wanted, film.last if film else -1], default=-1) + 1
    found: list[Still] = []
    cuts: dict[Place, Picture] = {}
    with ExitStack() as opened:
        before = opened.enter_context(Decoder(source, limits, None, 0, count, conversion))
        after = opened.enter_context(Decoder(restored, limits, count=count))
        maps = opened.enter_context(Decoder(changes, limits, count=count)) if changes else None
        colours = [_colour(decoder.probe) for decoder in (before, after)]
        if film:
            opened.callback(film.close)
            film.begin(after.probe.width, after.probe.height, after.probe.fps)
        frames = 0
        for pair in zip(before, after, maps or repeat(None), strict=False):
            index, frames = pair[0].index, frames + 1
            filmed = film is not None and film.has(index)
            if index not in wanted and not filmed:
                continue
            pictures = [c.to_rgb8(f.planes) for c, f in zip(colours, pair[:2], strict=True)]
            changed = pair[2].planes[0] if pair[2] else None
            if film is not None and filmed:
                small = [film.small(picture) for picture in pictures]
                half = [film.half(picture) for picture in small]
                third = difference(*half) if changed is None else mapped(half[0], changed)
                film.add(small[0], small[1], third)
            if index in wanted:
                still = Still(index, pictures[0], pictures[1], changed)
                cuts |= {place: still.cut(place) for place in places if place.frame == index}
                found += [still] if index in indices else []
        if frames < count:
            raise ClipFault(Reason.FRAME_COUNT, f"{frames} frames can be read, not {count}")
        return Stills(found, before.probe, after.probe, [cuts[place] for place in places])


def _colour(probe: Probe) -> PixelFormat:
    return PixelFormat.of(
        probe.pix_fmt, probe.bit_depth, probe.colorspace, probe.color_range, probe.height
    )


def jpeg(picture: Picture) -> bytes:
    """Return a JPEG of at most JPEG_BYTES: first lower the quality, then the size.

    A try that is far too large skips qualities: each of them makes a picture a fifth smaller.
    """
    bgr: NDArray[Any] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    step = 0
    while True:
        quality = QUALITIES[min(step, len(QUALITIES) - 1)]
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and data.nbytes <= JPEG_BYTES:
            return data.tobytes()
        if step >= len(QUALITIES) - 1:
            bgr = cv2.resize(bgr, None, fx=SHRINK, fy=SHRINK, interpolation=cv2.INTER_AREA)
        step += max(1, int(math.log(data.nbytes / JPEG_BYTES, 1 / SHRINK)))
