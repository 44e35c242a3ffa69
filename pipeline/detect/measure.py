"""Measure a clip before and after restoration: frames in, one summary per clip out."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence

import numpy as np

from pipeline.clip.frames import Luma, Plane
from pipeline.detect.metrics import METRICS, NAN, Box, PictureMetric, outside_of

SIDES = ("before", "after")
Images = tuple[Luma, Luma]
# Costly metrics are measured on every EVERY-th frame. On frames above 600,000 pixels, the step is
# pixels / PIXELS_PER_STEP.
EVERY, PIXELS_PER_STEP = 4, 150_000


def to_luma(plane: Plane, bit_depth: int = 8) -> Luma:
    """A Y or gray plane as luma on the 8-bit scale: the 10-bit value 940 becomes 235."""
    return np.multiply(plane, 0.5 ** (bit_depth - 8), dtype=np.float32)


def planes_to_luma(planes: Sequence[Plane], pix_fmt: str, bit_depth: int = 8) -> Luma:
    """Luma of a decoded frame. Planar RGB (`gbr*`: G, B, R) is weighted as in BT.709."""
    if not pix_fmt.startswith("gbr"):
        return to_luma(planes[0], bit_depth)
    green, blue, red = (to_luma(plane, bit_depth) for plane in planes[:3])
    return np.asarray(0.2126 * red + 0.7152 * green + 0.0722 * blue, dtype=np.float32)


def metric_columns() -> dict[str, PictureMetric]:
    """The metric of each measured column, in the order of the tables."""
    columns: dict[str, PictureMetric] = {}
    for name, metric in METRICS.items():
        if metric.kind in ("frame", "change"):
            columns |= {f"{name}_{side}": metric for side in SIDES}
    pairs = {name: metric for name, metric in METRICS.items() if metric.kind == "pair"}
    columns |= {f"{name}_to_source{metric.suffix}": metric for name, metric in pairs.items()}
    outside = {name: metric for name, metric in METRICS.items() if metric.kind == "outside"}
    columns |= {f"{name}{metric.suffix}": metric for name, metric in outside.items()}
    for name, metric in pairs.items():
        columns |= {f"ref_{name}_{side}{metric.suffix}": metric for side in SIDES}
    return columns


def _each(function: Callable[[Luma], Luma], images: Images) -> Images:
    """The function of both sides: once if they are one array."""
    before = function(images[0])
    return before, before if images[1] is images[0] else function(images[1])


def _of_sides(name: str, metric: PictureMetric, frames: Sequence[Images]) -> dict[str, float]:
    """A metric before and after: once if they are one array in each of the frames."""
    before = metric.measure(*(images[0] for images in frames))
    same = all(images[0] is images[1] for images in frames)
    after = before if same else metric.measure(*(images[1] for images in frames))
    return {f"{name}_before": before, f"{name}_after": after}


class ClipMeasure:
    """Measures one clip: `add` every frame in presentation order, then `summary` and `frames`.

    `shot_starts`: index of the first frame of each shot (0 may be omitted). Metrics that compare
    frames over time start anew there. Costly metrics are measured on the first frame of a shot and
    then on every `every`-th one. By default that is every 4th; on frames above 600,000 pixels it is
    every (pixels / 150,000)-th. The shots in `left` (by index) hold no picture and do not count in
    the summary. Memory: two frames, and a few numbers per frame of the clip.
    """

    def __init__(
        self,
        shot_starts: Sequence[int] = (0,),
        every: int | None = None,
        left: Collection[int] = (),
    ) -> None:
        self._starts = sorted({0, *shot_starts})
        self._left = sorted(left)
        self._every = every
        self._shot = 0
        self._shots = array("q")
        self._columns = {name: array("d") for name in metric_columns()}
        self._previous: dict[str, Images] = {}  # what metrics of a change see of the frame before

    def add(
        self,
        before: Luma,
        after: Luma,
        reference: Luma | None = None,
        repaired: Sequence[Box] = (),
    ) -> None:
        """Measure the next frame: luma of the source, the result and, if any, the reference.

        `repaired`: boxes of the regions that were repaired. Metrics of what lies outside leave them
        out. If `after` is the very array `before`, its metrics are taken from that.
        """
        same, before = after is before, np.asarray(before, np.float32)
        after = before if same else np.asarray(after, np.float32)
        reference = None if reference is None else np.asarray(reference, np.float32)
        shapes = {image.shape for image in (before, after, reference) if image is not None}
        if len(shapes) > 1:
            raise ValueError(f"frames of one clip must agree in size, got {sorted(shapes)}")
        frame = len(self._shots)
        if frame in self._starts[self._shot + 1 : self._shot + 2]:
            self._shot += 1
            self._previous = {}
        every = self._every or max(EVERY, before.size // PIXELS_PER_STEP)
        due = (frame - self._starts[self._shot]) % every == 0
        values: dict[str, float] = {}
        outside = outside_of(repaired, before.shape) if repaired else None
        for name, metric in METRICS.items():
            if metric.costly and not due:
                continue
            if metric.kind != "outside":
                values |= self._measure(name, metric, (before, after), reference)
            elif outside is not None:
                values[f"{name}{metric.suffix}"] = metric.measure(after, before, outside)
            else:  # nothing was repaired, and all of the frame lies outside
                whole = f"{name.removesuffix('_outside')}_to_source{metric.suffix}"
                values[f"{name}{metric.suffix}"] = values[whole]
        for name, column in self._columns.items():
            column.append(values.get(name, NAN))
        self._shots.append(self._shot)

    def _measure(
        self, name: str, metric: PictureMetric, images: tuple[Luma, Luma], reference: Luma | None
    ) -> dict[str, float]:
        """The columns of one metric for one frame. A column that cannot be measured is missing."""
        if metric.kind == "frame":
            return _of_sides(name, metric, (images,))
        if metric.kind == "change":
            seen = images if metric.of is None else _each(metric.of, images)
            last, self._previous[name] = self._previous.get(name), seen
            return _of_sides(name, metric, (seen, last)) if last else {}
        values = {f"{name}_to_source{metric.suffix}": metric.measure(images[1], images[0])}
        if reference is not None:
            for side, image in zip(SIDES, images, strict=True):
                values[f"ref_{name}_{side}{metric.suffix}"] = metric.measure(image, reference)
        return values

    def summary(self) -> dict[str, float]:
        """One number per column of tables/clips. NaN: nothing could be measured.

        NaN stands in every `ref_` column if there is no reference, in columns that need more frames
        than the clip has, and in all columns of a clip without a picture.
        """
        shots = np.array(self._shots, np.int64)
        shown = ~np.isin(shots, self._left)
        return {
            name: metric.pool(np.array(self._columns[name], np.float64)[shown], shots[shown])
            for name, metric in metric_columns().items()
            if metric.pool is not None
        }

    def frames(self) -> list[dict[str, float | int]]:
        """One row per frame for tables/frames: `frame`, `shot` (from 0), and the metrics or NaN.

        The columns are those of the summary and `mean_luma_before/_after`. A single frame has no
        flicker: `gain_step_before/_after`, the log change of brightness since the frame before,
        stands in its place.
        """
        names = ["frame", "shot"]
        for name, metric in metric_columns().items():
            side = name.rpartition("_")[2]
            names.append(f"{metric.frame_name}_{side}" if metric.frame_name else name)
        count = len(self._shots)
        rows = zip(range(count), self._shots, *self._columns.values(), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]
