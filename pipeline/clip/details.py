"""What a run keeps of a small clip beside its row: a part of its result, not objects of their own.

The result is one object of the ledger. Readers of its parts get that object's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clip.segment import SegmentRecord
from pipeline.clip.survey import Survey
from schemas.columns import with_columns

Details = Mapping[str, Any]  # survey, segment, frames and regions as JSON values


def details_of(
    survey: Survey,
    segment: SegmentRecord,
    frames: Sequence[Mapping[str, float]],
    regions: Path | None,
) -> Details:
    """The details of a clip. `regions` is the file of its regions; None without any.

    Frames and regions are kept column by column, which is a third of the rows' length.
    """
    nowhere = replace(segment, uri="", regions_uri="", changes_uri="")
    return {
        "survey": json.loads(survey.to_json()),
        "segment": asdict(nowhere),
        "frames": {name: [row[name] for row in frames] for name in frames[0]},
        "regions": None if regions is None else pq.read_table(regions).to_pydict(),
    }


def survey_in(result: bytes) -> Survey | None:
    """The survey in a result of the ledger; None if the clip was not small."""
    details = json.loads(result).get("details")
    return None if details is None else Survey.from_plain(details["survey"])


def frames_in(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measurements of every frame, as rows of tables/frames."""
    columns = result["details"]["frames"]
    rows = zip(*columns.values(), strict=True)
    return [{"clip_id": result["clip_id"], **dict(zip(columns, r, strict=True))} for r in rows]


def regions_in(result: bytes, schema: pa.Schema) -> pa.Table:
    """The regions of the clip as a table."""
    return with_columns(pa.table(json.loads(result)["details"]["regions"]), schema)
