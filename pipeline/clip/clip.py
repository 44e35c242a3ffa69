"""One clip, as its row of the manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
    notes: str | None = None
    reference_uri: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of `to_dict`. A missing column gets its default."""
        texts = {
            field.name: None if values.get(field.name) is None else str(values[field.name])
            for field in fields(cls)
            if field.name != "priority"
        }
        priority = int(str(values.get("priority") or 0))
        return cls(**{**texts, "priority": priority})  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, str | int | None]:
        """Every column by name."""
        return asdict(self)
