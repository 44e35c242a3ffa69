"""The figures of an event, by name: time and bytes of a shard, or of a whole published clip.

| name | unit |
|---|---|
| `seconds_decode`, `seconds_model`, `seconds_encode`, `seconds_assemble` | of each stage |
| `seconds_cpu` | of processor time |
| `seconds_gpu` | for which a GPU was held |
| `retries` | attempts beyond the first |
| `bytes_in`, `bytes_out` | of the source and of the restored file |
"""

from __future__ import annotations

from pipeline.clip.result import ClipResult
from pipeline.clip.segment import SegmentRecord
from schemas.reasons import MADE

STAGES = ("decode", "model", "encode")
SHARD_FIGURES = (*(f"seconds_{stage}" for stage in STAGES), "seconds_cpu", "seconds_gpu", "retries")


def shard_measures(segment: SegmentRecord) -> dict[str, float]:
    """The figures of a restored shard."""
    return {name: getattr(segment, name) for name in SHARD_FIGURES}


def clip_measures(result: ClipResult) -> dict[str, float]:
    """The figures of a clip with all its shards. Empty unless this run has made its file."""
    total = result.number("seconds_total")
    if result.state not in MADE or total is None:
        return {}
    found = _known(result, {name: name for name in SHARD_FIGURES})
    found["seconds_assemble"] = round(total - sum(found[f"seconds_{s}"] for s in STAGES), 3)
    return found | _known(result, {"bytes_in": "source_bytes", "bytes_out": "output_bytes"})


def _known(result: ClipResult, columns: dict[str, str]) -> dict[str, float]:
    """The known numeric columns, by the name of the figure."""
    values = {name: result.number(column) for name, column in columns.items()}
    return {name: value for name, value in values.items() if value is not None}
