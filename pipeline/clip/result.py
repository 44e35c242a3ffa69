"""How a clip ended: its row of tables/clips, with what other tables need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from schemas.reasons import Reason

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class ShotRow:
    """A shot as tables/shots has it: frames [start, stop); start_pts in the source's time base."""

    clip_id: str
    shot: int
    start: int
    stop: int
    frames: int
    start_pts: int
    flickers: bool
    left: str | None  # why it is published unchanged; None for a shot that is restored


@dataclass(frozen=True)
class ClipResult:
    """The one end of a clip. `columns` are those of tables/clips (schemas/tables.py) by name.

    A column that is left out is null in the table.
    """

    columns: Mapping[str, Cell]
    shots: tuple[ShotRow, ...] = ()
    series_uri: str | None = None  # the measures of every frame, as JSON

    @property
    def clip_id(self) -> str:
        return str(self.columns["clip_id"])

    @property
    def run(self) -> str:
        """The run that this end belongs to."""
        return str(self.columns["run"])

    @property
    def state(self) -> str:
        """One of `schemas.tables.STATES`."""
        return str(self.columns["state"])

    @property
    def reason(self) -> Reason | None:
        """Why the clip did not end well; None for one that did."""
        code = self.columns.get("reason")
        return Reason(str(code)) if code else None

    @property
    def sentence(self) -> str:
        """What happened to the clip; empty for one that ended well."""
        return str(self.columns.get("sentence") or "")

    def number(self, column: str) -> float | None:
        """A numeric column, or None where it is not known."""
        value = self.columns.get(column)
        return value if isinstance(value, int | float) else None

    def having(self, **columns: Cell) -> Self:
        """The same end with other values in some columns."""
        return replace(self, columns={**self.columns, **columns})
