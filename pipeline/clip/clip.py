"""One clip, as its row of the manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Self

# Access classes whose pictures may not leave the storage.
WITHOUT_PICTURES = frozenset({"restricted"})


@dataclass(frozen=True)
class Clip:
    """A typed row of the manifest. `schemas/manifest.py` describes the columns."""

    clip_id: str
    source_uri: str
    checksum: str | None = None
    checksum_algo: str | None = None
    collection: str | None = None
    recipe: str | None = None
    priority: int = 0
    embargo_until: str | None = None  # YYYY-MM-DD
    access_class: str | None = None
    field_order: str | None = None
    expected_fps: str | None = None
    interlace: str | None = None
    gaps: str | None = None
    fill: str | None = None
    leave: str | None = None
    protect: str | None = None
    notes: str | None = None
    reference_uri: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of `to_dict`. A missing column gets its default."""
        known = {
            name: str(value)
            for name in _names()
            if (value := values.get(name)) is not None and name != "priority"
        }
        priority = int(str(values.get("priority") or 0))
        return cls(**known, priority=priority)

    def to_dict(self) -> dict[str, str | int | None]:
        """Every column by name."""
        return {name: getattr(self, name) for name in _names()}


@cache  # a manifest may have a million rows
def _names() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Clip))
