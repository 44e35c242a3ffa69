"""The values of the curves, from tables/frames: few enough to draw, a table for each clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from jobs.report.curves.catalogue import ALL, FIRST

CURVE_POINTS = 400  # at most, in one curve: as many as a plot has pixels
CLIPS_PER_QUERY = 50
# A long clip is binned. Values are halved in size: a report holds those of all clips.
_CURVES_OF = """
WITH latest AS (
    SELECT * FROM frames WHERE clip_id IN ({clips})
    QUALIFY run = max(run) OVER (PARTITION BY clip_id)
), binned AS (
    SELECT *, frame // (1 + max(frame) OVER (PARTITION BY clip_id) // {points}) AS bin
    FROM latest
)
SELECT clip_id, min(frame)::INTEGER AS frame, min(shot)::INTEGER AS shot, {columns}
FROM binned GROUP BY clip_id, bin ORDER BY clip_id, bin
"""

Ask = Callable[[str], pa.Table]


def curves_of(clips: Sequence[str], ask: Ask) -> dict[str, pa.Table]:
    """The table of each clip that has frames. `ask` runs a query."""
    found = {}
    for start in range(0, len(clips), CLIPS_PER_QUERY):
        names = ", ".join(_quoted(clip) for clip in clips[start : start + CLIPS_PER_QUERY])
        rows = ask(_CURVES_OF.format(clips=names, points=CURVE_POINTS, columns=_columns()))
        rows = rows.combine_chunks()
        ids = rows.column("clip_id").to_pylist()
        edges = [0, *(n for n in range(1, len(ids)) if ids[n] != ids[n - 1]), len(ids)]
        for first, stop in pairwise(edges):
            if stop > first:
                found[ids[first]] = rows.slice(first, stop - first).drop_columns(["clip_id"])
    return found


def _columns() -> str:
    parts = []
    for curve in ALL:
        for (_, sql), name in zip(curve.columns, curve.names().values(), strict=True):
            value = f"arg_min({sql}, frame)" if curve.pick == FIRST else f"{curve.pick}({sql})"
            parts.append(f"({value})::FLOAT AS {name}")
    return ", ".join(parts)


def points(table: pa.Table, column: str) -> list[tuple[float, float]]:
    """(frame, value) of the frames that were measured. No value is NaN."""
    values = table.column(column)
    kept = table.filter(pc.is_finite(values))
    frames, measured = kept.column("frame").to_pylist(), kept.column(column).to_pylist()
    return [(float(x), float(y)) for x, y in zip(frames, measured, strict=True)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
