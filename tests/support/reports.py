"""Clips, table rows and a page parser for the tests of the report."""

import html.parser
import re
import sys
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.console.views import create_views
from jobs.report.curves.catalogue import ALL
from pipeline.media.rgb import write_rgb
from schemas.tables import PUBLISHED, schema

FRAMES, SIZE = 20, (48, 64)
HOSTILE = '<script>alert("1")</script>&'
SERIES = sorted({column for c in ALL for _, sql in c.columns for column in re.findall(r"\w+", sql)})
MEASURES = {
    "noise_sigma_before": 4.0,
    "noise_sigma_after": 1.0,
    "flicker_before": 2.0,
    "flicker_after": 0.5,
    "psnr_to_source_db": 33.3,
    "ssim_to_source": 0.95,
}
Tables = dict[str, list[dict[str, Any]]]


class Page(html.parser.HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]

    def addresses(self) -> list[str]:
        return [str(v) for _, a in self.elements for k, v in a.items() if k in ("src", "href")]


def grey_clip(path: Path, add: int = 0) -> Path:
    """Frames with the grey values 10, 20, 30 ... plus ``add``."""
    shape = (*SIZE, 3)
    frames = (np.full(shape, 10 * (i + 1) + add, np.uint8) for i in range(FRAMES))
    write_rgb(path, frames, Fraction(25), pix_fmt="gbrp")
    return path


def published_row(clip_id: str, source: str = "/gone.mkv", restored: str = "/gone_rst.mkv") -> Any:
    row = {"clip_id": clip_id, "run": "r2", "state": "published", "reason": None, "sentence": None}
    row |= {
        "access_class": None,
        "notes": None,
        "source_uri": source,
        "output_uri": restored,
        "output_sha256": "ab" * 32,
    }
    return row | {"frames": FRAMES, "shots": 2, "model": "fast"} | MEASURES


def published(clip_id: str, out: Path, **more: object) -> dict[str, Any]:
    """A row of tables/clips whose files exist; the restored file is 5 code values brighter."""
    source = grey_clip(out / f"{clip_id}.mkv")
    restored = out / "clips" / clip_id / f"{clip_id}_rst.mkv"
    restored.parent.mkdir(parents=True, exist_ok=True)
    grey_clip(restored, add=5)
    return published_row(clip_id, str(source), str(restored)) | more


def refused(clip_id: str, **more: object) -> dict[str, Any]:
    empty = dict.fromkeys(published_columns())
    row = {"clip_id": clip_id, "run": "r2", "state": "quarantined", "reason": "TRUNCATED"}
    return empty | row | {"sentence": "8 of 20 frames", "source_uri": "s3://b/x.mkv"} | more


def published_columns() -> list[str]:
    return [
        *("clip_id", "run", "state", "reason", "sentence", "source_uri", "output_uri"),
        *("output_sha256", "frames", "shots", "model", "access_class", "notes", *MEASURES),
    ]


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Rows in place of the tables of an output folder, for the same DuckDB queries."""
    rows: Tables = {
        "clips": [],
        "frames": [
            {"clip_id": "", "run": "r2", "frame": 0, "shot": 0} | dict.fromkeys(SERIES, 1.0)
        ],
        "regions": [],
    }

    def query(out: str, sql: str) -> pa.Table:
        connection = duckdb.connect()
        for name in PUBLISHED:
            typed = pa.schema([*schema(name), pa.field("run_date", pa.date32())])
            connection.register(name, pa.Table.from_pylist(rows.get(name, []), typed))
        create_views(connection, sql)
        return connection.sql(sql).to_arrow_table()

    fake = types.ModuleType("jobs.console.query")
    fake.query = query  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jobs.console.query", fake)
    return rows
