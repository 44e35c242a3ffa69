"""The film of a clip's page: source, restored and change below each other in one picture.

One picture holds all three, so no player can show two different frames side by side. The change has
half the size of the others, as the change map has. The film is small and short: the parts that a
rule found, and the beginning, the middle and the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.report.entry import ReportEntry
from pipeline.media.rgb import ViewWriter

MOST_SIZE = 512, 384  # pixels of source and restored
WHOLE_SECONDS = 10  # a clip that is no longer is shown whole
PART_SECONDS = 3  # of the beginning, the middle and the end
AROUND_SECONDS = 1  # before and after a frame that a rule found
FINDINGS = 4  # parts that rules found, at most
SLOWEST, FASTEST, USUAL = 1, 120, 25  # frames per second
SIDE = 4  # sizes are multiples of this: half of them is even, as 4:2:0 asks

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Range = tuple[int, int]  # frames [start, stop)


class Span(NamedTuple):
    """A part of the film, and why it is there."""

    words: str
    start: int
    stop: int


def rate_of(fps: Fraction) -> Fraction:
    """The rate of the film: that of the clip, if a browser can show it."""
    return fps if SLOWEST <= fps <= FASTEST else Fraction(USUAL)


def spans_to_show(entry: ReportEntry) -> list[Span]:
    """The parts of the clip that the film shows: what a rule found comes first.

    There are none if no frame differs from the source.
    """
    frames = int(entry.number("frames") or 0)
    if entry.number("frames_changed") == 0:
        return []
    fps, per = entry.number("fps_num"), entry.number("fps_den")
    rate = rate_of(Fraction(int(fps), int(per)) if fps and per else Fraction(0))

    def span(words: str, start: int, seconds: int) -> Span:
        length = max(1, round(seconds * rate))
        start = max(0, min(start, frames - length))
        return Span(words, start, min(frames, start + length))

    found = []
    for finding in entry.findings[:FINDINGS]:
        frame = int(str(finding["frame"]))
        start = frame - round(AROUND_SECONDS * rate)
        words = f"around frame {frame}: {str(finding['rule']).replace('_', ' ')}"
        found.append(span(words, start, 2 * AROUND_SECONDS))
    if frames <= WHOLE_SECONDS * rate:
        short = [part for part in found if part.stop - part.start < frames]
        return [*short, Span("the whole clip", 0, frames)] if frames else []
    middle = (frames - round(PART_SECONDS * rate)) // 2
    return [
        *found,
        span("beginning", 0, PART_SECONDS),
        span("middle", middle, PART_SECONDS),
        span("end", frames, PART_SECONDS),
    ]


def joined(spans: Iterable[Span]) -> list[Range]:
    """The frames of the spans as ranges that do not overlap, in order."""
    ranges: list[Range] = []
    for _, start, stop in sorted(spans, key=lambda span: span.start):
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], stop)
        else:
            ranges.append((start, stop))
    return ranges


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    area = size[0] * 2 <= picture.shape[1]  # below that, both ways look the same, and one is slow
    way = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=way).astype(np.uint8, copy=False)


class Film:
    """Writes the film while the pictures of a clip are taken."""

    def __init__(self, path: Path, ranges: Sequence[Range]) -> None:
        self.path, self.ranges = path, list(ranges)
        self.last = max((stop for _, stop in ranges), default=0) - 1
        self._writer: ViewWriter | None = None
        self._size, self._scale, self._fps = (0, 0), 1.0, Fraction(USUAL)

    def has(self, frame: int) -> bool:
        """Whether the frame is in the film."""
        return any(start <= frame < stop for start, stop in self.ranges)

    def begin(self, width: int, height: int, fps: Fraction) -> None:
        """Open the file for pictures of this size."""
        self._scale = min(1.0, MOST_SIZE[0] / width, MOST_SIZE[1] / height)
        across, down = (max(SIDE, round(n * self._scale) // SIDE * SIDE) for n in (width, height))
        self._size, self._fps = (across, down), rate_of(fps)
        self._writer = ViewWriter(self.path, across, 2 * down + down // 2, self._fps)

    def small(self, picture: Picture) -> Picture:
        """A picture in the size of the film."""
        return picture if picture.shape[1::-1] == self._size else _resized(picture, self._size)

    def half(self, small: Picture) -> Picture:
        """A picture in the size of the film in half its size."""
        return _resized(small, (self._size[0] // 2, self._size[1] // 2))

    def add(self, source: Picture, restored: Picture, change: Picture) -> None:
        """Add a frame. The change has half the width and height of the others."""
        assert self._writer is not None, "the film has not begun"
        last = np.hstack([change, np.zeros_like(change)])
        whole = np.vstack([source, restored, last])
        self._writer.write(cv2.cvtColor(whole, cv2.COLOR_RGB2YUV_I420).astype(np.uint8))

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()

    def facts(self, change: str) -> dict[str, object]:
        """What the player must know. `change`: what the third picture is, map or difference."""
        return {
            "width": self._size[0], "height": self._size[1], "scale": round(self._scale, 3),
            "fps": str(self._fps), "ranges": [list(part) for part in self.ranges],
            "change": change,
        }  # fmt: skip
