"""The numbers that an event carries, by name: what a shard, or a whole published clip, took.

| name | unit |
|---|---|
| `seconds_decode`, `seconds_model`, `seconds_encode`, `seconds_assemble` | of each stage |
| `seconds_cpu`, `seconds_gpu` | of processor time; for which a GPU was held |
| `retries` | attempts beyond the first |
| `bytes_in`, `bytes_out` | of the source and of the restored file |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAGES = ("decode", "model", "encode")
SHARD = (*(f"seconds_{stage}" for stage in STAGES), "seconds_cpu", "seconds_gpu", "retries")


def shard_measures(record: Mapping[str, Any]) -> dict[str, float]:
    """Of a segment's record."""
    return {name: record[name] for name in SHARD if record.get(name) is not None}


def clip_measures(row: Mapping[str, Any]) -> dict[str, float]:
    """Of a clip's row, all shards together; nothing unless this run has published it."""
    if row["state"] != "published" or row.get("seconds_total") is None:
        return {}
    found = shard_measures(row)
    stages = sum(found[f"seconds_{stage}"] for stage in STAGES)
    found["seconds_assemble"] = round(row["seconds_total"] - stages, 3)
    sizes = {"bytes_in": row.get("source_bytes"), "bytes_out": row.get("output_bytes")}
    return found | {name: size for name, size in sizes.items() if size is not None}
