"""The measures of every frame of a clip, source and restored, in one pass."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.colour import PixelFormat
from models.motion.flow import warp
from pipeline.clip.frames import Luma, Planes
from pipeline.detect.frame_changes import small_pair
from pipeline.measures.change import Box, colour_difference, new_edges, seam
from pipeline.measures.motion import (
    Link,
    linked,
    own_detail_kept,
    shared_detail_kept,
    unsupported,
    warping_error,
)
from pipeline.measures.signal import (
    levels,
    out_of_range,
    repeated_lines,
    saturation,
    temporal_outliers,
)

SIDES = ("before", "after")
OF_A_SIDE = (
    "y_min", "y_low", "y_high", "y_max", "saturation", "temporal_outliers", "repeated_lines",
    "out_of_range", "warping_error",
)  # fmt: skip
OF_THE_PAIR = (
    "colour_difference", "colour_difference_p95", "new_edges", "seam", "shard_seam",
    "unsupported_change", "unsupported_worst", "shared_detail_kept",
)  # fmt: skip
# In tables/clips: the mean over the frames, or the worst frame.
MEANS = (
    *(f"{name}_{side}" for name in OF_A_SIDE[4:] for side in SIDES),
    "colour_difference",
)  # fmt: skip
WORST = ("new_edges", "seam", "shard_seam", "unsupported_change", "unsupported_worst")
COLUMNS = (*(f"{name}_{side}" for name in OF_A_SIDE for side in SIDES), *OF_THE_PAIR)
EVERY = 8  # frames from one measurement of colour, edges, seams and motion to the next
DOUBTFUL = 0.95  # of its own detail: a frame that keeps less is measured for what others share
TILES = 8  # in the width and in the height: their means are compared from shard to shard
NAN = float("nan")


class FrameMeter:
    """Takes source and restored frames in order; `rows` has one row for each frame.

    `shot_starts` and `shard_starts`: first frames (0 may be omitted). For frames in `skipped` the
    source has no picture: only the signal is measured. Signal and shards are measured on every
    frame, the rest on the first frame of a shot and then on each `every`-th. Between them a frame
    that keeps less than `DOUBTFUL` of its own detail is measured for the detail that it shares.
    Memory: two small frames, and a few numbers per frame of the clip.
    """

    def __init__(
        self,
        pixels: PixelFormat,
        shot_starts: Sequence[int] = (0,),
        shard_starts: Sequence[int] = (),
        skipped: Collection[int] = (),
        every: int = EVERY,
    ) -> None:
        self._pixels = pixels
        self._starts, self._skipped = {0, *shot_starts}, set(skipped)
        self._shards = sorted(set(shard_starts) - self._starts)
        self._columns = {name: array("d") for name in COLUMNS}
        self._steps = array("d")  # of the change of the tiles, since the frame before
        self._boxes: dict[str, dict[int, Box]] = defaultdict(dict)
        self._last: _Small | None = None  # of this shot
        self._count, self._begun, self._every = 0, 0, every

    def add(
        self,
        planes: tuple[Planes, Planes],
        lumas: tuple[Luma, Luma],
        small: tuple[Luma, Luma] | None = None,
    ) -> None:
        """Measure the next frame. Planes and luma (H, W, 8-bit scale), of source and restored.

        `small`: both lumas by `small_of`, if they are known. If both planes are one object, nothing
        was changed, and only the source is measured.
        """
        frame = self._count
        self._count += 1
        if frame in self._starts:
            self._end_shot()
            self._begun = frame
        before = self._signal(planes[0], lumas[0])
        after = before if planes[1] is planes[0] else self._signal(planes[1], lumas[1])
        for name, column in self._columns.items():
            what, _, side = name.rpartition("_")
            column.append((before if side == "before" else after).get(what, NAN))
        self._steps.append(NAN)
        if frame in self._skipped:
            self._end_shot()
            return
        due = (frame - self._begun) % self._every == 0
        now = _Small(frame, due, *(small or small_pair(*lumas)))
        if due:
            self._pair(frame, planes, lumas)
            self._set(frame, "new_edges", new_edges(now.source, now.restored))
        if (last := self._last) is not None:
            self._steps[frame] = cv2.norm(now.change, last.change) / TILES
            if now.followed or last.followed:
                self._follow(last, now)
        self._last = now

    def _follow(self, last: _Small, now: _Small) -> None:
        """What two frames show of the motion, for the one that is followed."""
        link = linked(last.source, now.source)
        if last.followed:
            self._support(last, (link, now.source))
        now.earlier = link, last.source
        if now.due:
            seen = link.seen()
            error = warping_error(now.source, last.source, link, seen)
            self._set(now.frame, "warping_error_before", error)
            if not (now.same and last.same):
                error = warping_error(now.restored, last.restored, link, seen)
            self._set(now.frame, "warping_error_after", error)

    def rows(self) -> Iterator[dict[str, float]]:
        """The columns of tables/frames, one row for each frame. NaN: not measured."""
        self._finish()
        for row in zip(*self._columns.values(), strict=True):
            yield dict(zip(COLUMNS, map(_rounded, row), strict=True))

    def summary(self) -> dict[str, float]:
        """The columns of tables/clips: means and worst frames. NaN: nothing was measured."""
        self._finish()
        means = {name: self._known(name) for name in MEANS}
        worst = {name: self._known(name) for name in WORST}
        return {
            **{name: _rounded(float(v.mean())) if v.size else NAN for name, v in means.items()},
            **{name: _rounded(float(v.max())) if v.size else NAN for name, v in worst.items()},
        }

    def _known(self, name: str) -> NDArray[np.float64]:
        values = np.array(self._columns[name], np.float64)
        return values[~np.isnan(values)]

    def box(self, frame: int, measure: str) -> Box | None:
        """Where a measure of a frame was found; None if it is of the whole frame."""
        return self._boxes[measure].get(frame)

    def _signal(self, planes: Planes, luma: Luma) -> dict[str, float]:
        """The measures of one side, of a frame alone."""
        depth, rgb = self._pixels.depth, self._pixels.family == "gbr"
        whole = depth == 8 and not rgb
        byte = planes[0] if whole else luma.astype(np.uint8)  # bits below the eighth are cut
        found = {
            **(levels(byte) if rgb else levels(planes[0], depth)),
            "temporal_outliers": temporal_outliers(byte),
            "repeated_lines": repeated_lines(byte),
        }
        if not rgb:
            found["out_of_range"] = out_of_range(planes, depth)
        if self._pixels.family == "yuv":
            found["saturation"] = saturation(planes, depth)
        return found

    def _pair(self, frame: int, planes: tuple[Planes, Planes], lumas: tuple[Luma, Luma]) -> None:
        """The measures of both sides together, of a frame alone."""
        mean = most = 0.0
        if planes[1] is not planes[0]:
            mean, most = colour_difference(*planes, self._pixels)
        self._set(frame, "colour_difference", mean)
        self._set(frame, "colour_difference_p95", most)
        if (step := seam(*lumas)) is not None:
            self._set(frame, "seam", step.step, step.box)

    def _support(self, pair: _Small, later: tuple[Link, Luma] | None) -> None:
        """What of the change of a frame the frames beside it explain."""
        neighbours = []
        if pair.earlier is not None:
            neighbours.append(warp(pair.earlier[1], pair.earlier[0].back))
        if later is not None:
            neighbours.append(warp(later[1], later[0].forth))
        if not neighbours:
            return
        kept = shared_detail_kept(pair.source, pair.restored, neighbours)
        self._set(pair.frame, "shared_detail_kept", kept)
        if not pair.due:
            return
        if found := unsupported(pair.source, pair.restored, neighbours):
            self._set(pair.frame, "unsupported_change", found.share)
            self._set(pair.frame, "unsupported_worst", found.worst, found.box)

    def _finish(self) -> None:
        self._end_shot()
        for shard in self._shards:
            if shard < self._count:
                self._set(shard, "shard_seam", self._shard_seam(shard))

    def _end_shot(self) -> None:
        if self._last is not None and self._last.followed:
            self._support(self._last, None)
        self._last = None

    def _shard_seam(self, frame: int) -> float:
        """How much more the change moves here than from the frame before or to the one after."""
        beside = [self._steps[f] for f in (frame - 1, frame + 1) if 0 <= f < self._count]
        known = [step for step in beside if not math.isnan(step)]
        return max(self._steps[frame] - max(known), 0.0) if known else NAN

    def _set(self, frame: int, name: str, value: float, box: Box | None = None) -> None:
        self._columns[name][frame] = value
        if box is not None:
            self._boxes[name][frame] = box


class _Small:
    """A small source frame and the restored one, (H, W) each."""

    def __init__(self, frame: int, due: bool, source: Luma, restored: Luma) -> None:
        self.frame, self.due, self.source, self.restored = frame, due, source, restored
        self.same = restored is source
        self.followed = due or (not self.same and own_detail_kept(source, restored) < DOUBTFUL)
        self.change: NDArray[np.float32] = np.zeros((TILES, TILES), np.float32)
        if not self.same:
            change = cv2.subtract(restored, source)
            cv2.resize(change, (TILES, TILES), dst=self.change, interpolation=cv2.INTER_AREA)
        self.earlier: tuple[Link, Luma] | None = None


def _rounded(value: float) -> float:
    """Six digits: the ledger holds these numbers as text."""
    return float(f"{value:.6g}")
