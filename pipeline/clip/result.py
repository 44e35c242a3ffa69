"""The result of a clip: its row of tables/clips, and the rows of its shots and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pipeline.clip.details import Details
from schemas.reasons import Reason

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class ShotRow:
    """A row of tables/shots: frames [start, stop); start_pts in the time base of the source."""

    clip_id: str
    shot: int
    start: int
    stop: int
    frames: int
    start_pts: int
    flickers: bool
    left: str | None  # why it is published unchanged; None if it is restored
    found: str | None = None  # why the survey does not call it clean


@dataclass(frozen=True)
class FindingRow:
    """A row of tables/findings: a rule that a clip breaks, and the frame that proves it."""

    clip_id: str
    rule: str
    verdict: str
    measure: str
    number: float
    rule_limit: float
    frame: int
    box: str | None  # x,y,width,height in pixels; None for the whole frame
    frames: int  # that break the rule
    sentence: str
    put_back: str | None = None  # region, shot or clip; None: the change stands


@dataclass(frozen=True)
class ClipResult:
    """How a clip ended. `columns` are the columns of tables/clips (schemas/tables.py) by name.

    A missing column is null in the table.
    """

    columns: Mapping[str, Cell]
    shots: tuple[ShotRow, ...] = ()
    # addresses of files of the ledger, or of the result itself if it has the details
    series_uri: str | None = None  # measurements of every frame, as JSON
    regions_uri: str | None = None  # its regions, as Parquet; None without any
    findings: tuple[FindingRow, ...] = ()
    # of a small clip: the ledger keeps them with the row, but the driver does not
    details: Details | None = field(default=None, compare=False)

    @property
    def clip_id(self) -> str:
        return str(self.columns["clip_id"])

    @property
    def run(self) -> str:
        """The run in which the clip ended."""
        return str(self.columns["run"])

    @property
    def state(self) -> str:
        """One of `schemas.reasons.STATES`."""
        return str(self.columns["state"])

    @property
    def reason(self) -> Reason | None:
        """Why the clip did not end well; None if it did."""
        code = self.columns.get("reason")
        return Reason(str(code)) if code else None

    @property
    def sentence(self) -> str:
        """What happened to the clip; empty if it ended well."""
        return str(self.columns.get("sentence") or "")

    def number(self, column: str) -> float | None:
        """A numeric column; None if unknown."""
        value = self.columns.get(column)
        return value if isinstance(value, int | float) else None

    def having(self, **columns: Cell) -> Self:
        """The same result with other values in some columns."""
        return replace(self, columns={**self.columns, **columns})
