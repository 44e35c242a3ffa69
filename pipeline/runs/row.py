"""The only module that turns the values of a run into rows, and rows into values.

Between the stages a row has the columns of `schemas.tables.FLOW`. Its column `kind` names the class
of the value. In the ledger a record is JSON: a segment record, or a clip's result. Every row is
checked against the Arrow types of its table when it is made. Pandera checks only the published
tables (`pipeline.runs.tables`): it takes 25 to 90 ms for one row, as long as a small frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, cast

import pyarrow as pa

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult, FindingRow, ShotRow
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.tasks import ClipEnded, ClipLeft, Item, ShardDone, ShardTask
from pipeline.runs.measures import SHARD_FIGURES
from schemas import strict_json
from schemas.manifest import COLUMNS as MANIFEST
from schemas.reasons import Reason
from schemas.tables import schema

Row = dict[str, Any]  # of a table
Record = dict[str, object]  # a JSON object of the ledger

BESIDE_COLUMNS = ("series_uri", "regions_uri", "shot_rows", "finding_rows", "details")
_TASK = ("shard", "frames", "shards", "clip_frames")


def to_row(item: Item) -> Row:
    """The row of a value. Raises pyarrow.ArrowInvalid or ArrowTypeError for a wrong type."""
    row: Row = dict.fromkeys(schema("flow").names)
    match item:
        case Clip():
            row |= {"kind": "clip", **item.to_dict()}
        case ShardTask():
            row |= {"kind": "task", **_task_columns(item)}
        case ShardDone():
            row |= {"kind": "done", **_task_columns(item.task), "outcome": item.outcome}
            row |= item.figures
            if item.segment is not None:
                row["record"] = dump(segment_to_record(item.segment)).decode()
        case ClipEnded():
            row |= {"kind": "ended", "clip_id": item.clip_id}
            if item.result is not None:
                row["record"] = dump(result_to_record(item.result)).decode()
        case ClipLeft():
            row |= {"kind": "left", "clip_id": item.clip_id, "reason": str(item.reason)}
            row["sentence"] = item.sentence
    return _typed("flow", row)


def from_row(row: Mapping[str, Any]) -> Item:
    """The inverse of `to_row`."""
    clip_id, record = str(row["clip_id"]), row["record"] and json.loads(row["record"])
    match row["kind"]:
        case "clip":
            return _clip(row)
        case "task":
            return _task(row)
        case "done":
            known = {name: row[name] for name in SHARD_FIGURES if row.get(name) is not None}
            segment = segment_from_record(record) if record else None
            return ShardDone(_task(row), row["outcome"], known, segment)
        case "ended":
            return ClipEnded(clip_id, result_from_record(record) if record else None)
        case "left":
            return ClipLeft(clip_id, Reason(row["reason"]), row["sentence"] or "")
    raise ValueError(f"unknown kind of row: {row['kind']!r}")


class OnRows:
    """A stage that returns one value, as a function of rows: for Ray Data's map."""

    def __init__(self, stage: Callable[[Item], Item]) -> None:
        self.stage = stage

    def __call__(self, row: Row) -> Row:
        return to_row(self.stage(from_row(row)))


class ClipOnRows:
    """A stage that returns several values for a clip, as a function of rows: for flat_map."""

    def __init__(self, stage: Callable[[Clip], list[Item]]) -> None:
        self.stage = stage

    def __call__(self, row: Row) -> list[Row]:
        return [to_row(item) for item in self.stage(_clip(row))]


def segment_to_record(segment: SegmentRecord) -> Row:
    """The segment record as the ledger stores it."""
    record = asdict(segment)
    _typed("segments", {name: record[name] for name in schema("segments").names})
    return record


def segment_from_record(record: Mapping[str, Any]) -> SegmentRecord:
    """The inverse of `segment_to_record`. Unknown keys are ignored."""
    known = {f.name: record[f.name] for f in fields(SegmentRecord) if f.name in record}
    return SegmentRecord(**known | {"crc32": tuple(record["crc32"])})


def result_to_record(result: ClipResult) -> Row:
    """The result of a clip as the ledger and the published record store it."""
    record: Row = dict(result.columns)
    if result.series_uri is not None:
        record |= {
            "series_uri": result.series_uri,
            "regions_uri": result.regions_uri,
            "shot_rows": [asdict(shot) for shot in result.shots],
        }
    if result.findings:
        record["finding_rows"] = [asdict(finding) for finding in result.findings]
    return record


def result_from_record(record: Mapping[str, Any]) -> ClipResult:
    """The inverse of `result_to_record`."""
    columns = {k: v for k, v in record.items() if k not in BESIDE_COLUMNS}
    shots = tuple(ShotRow(**shot) for shot in record.get("shot_rows", ()))
    findings = tuple(FindingRow(**finding) for finding in record.get("finding_rows", ()))
    return ClipResult(columns, shots, record.get("series_uri"), record.get("regions_uri"), findings)


def shot_rows(results: Iterable[ClipResult]) -> list[Row]:
    """The rows of tables/shots."""
    return [asdict(shot) for result in results for shot in result.shots]


def finding_rows(results: Iterable[ClipResult]) -> list[Row]:
    """The rows of tables/findings."""
    return [asdict(finding) for result in results for finding in result.findings]


def dump(record: Mapping[str, object]) -> bytes:
    """The record as JSON with sorted keys. NaN and infinity are null."""
    return strict_json.dumps(record, sort_keys=True).encode()


def load(data: bytes) -> Record:
    """The inverse of `dump`."""
    return cast(Record, json.loads(data))


def _task_columns(task: ShardTask) -> Row:
    facts = {name: getattr(task, name) for name in _TASK}
    return task.clip.to_dict() | facts | {"survey": task.survey or None}


def _task(row: Mapping[str, Any]) -> ShardTask:
    numbers = {name: int(row[name]) for name in _TASK}
    return ShardTask(_clip(row), **numbers, survey=row["survey"] or "")


def _clip(row: Mapping[str, Any]) -> Clip:
    return Clip.from_dict({name: row[name] for name in MANIFEST})


def _typed(table: str, row: Row) -> Row:
    pa.RecordBatch.from_pylist([row], schema(table))
    if unknown := row.keys() - set(schema(table).names):
        raise ValueError(f"{table}: no column {', '.join(sorted(unknown))} in schemas/tables.py")
    return row
