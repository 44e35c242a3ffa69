"""The regions of a clip that still stand after a revert: those that it did not put back whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clip.box import Box
from pipeline.clip.regions import read_regions
from pipeline.clip.segment import RegionSums
from pipeline.runs.tables import PART_ROWS
from pipeline.store.storage import DIRECT, Store


def standing(
    row: Mapping[str, Any], reverts: Sequence[Mapping[str, Any]], store: Store = DIRECT
) -> Iterator[pa.Table]:
    """Parts of tables/regions for a clip's row in a record, with its `run`.

    A region is left out if the source's pixels were put back in its whole box. Regions whose file
    was deleted are left out too.
    """
    uri = row.get("regions_uri")
    if not uri or not store.exists(uri):
        return
    data = store.read_bytes(uri)
    for part in read_regions(data, str(row["clip_id"]), str(row["run"]), PART_ROWS):
        yield part.filter(pc.invert(_put_back(part, reverts)))


def left_as_suspects(
    part: pa.Table, put_back: Sequence[Mapping[str, Any]], accepted: Sequence[str] = ()
) -> pa.Table:
    """The regions of a shard with those that were put back before publishing as suspects.

    Entries have the form of a revert, and `why`: the reason code of the regions. Scratches that
    stand still, and the ids that a person `accepted`, stay repairs, unless a rule put them back.
    """
    sure = pc.is_in(region_ids(part), pa.array(accepted, pa.string()))
    sure = pc.or_(sure, pc.equal(part["why"], "standing"))
    for entry in put_back:
        inside = pc.and_(_inside(part, entry), pc.equal(part["decision"], "repair"))
        if not entry.get("rule"):
            inside = pc.and_(inside, pc.invert(sure))
        for name, value in (("decision", "suspect"), ("why", entry["why"])):
            column = pc.if_else(inside, value, part[name])
            part = part.set_column(part.column_names.index(name), part.schema.field(name), column)
    return part


def region_ids(part: pa.Table) -> pa.Array:
    """The id of each region: `frame:x,y,w,h`."""
    names = ("frame", "x", "y", "width", "height")
    frame, *box = (pc.cast(part[name], pa.string()) for name in names)
    return pc.binary_join_element_wise(frame, pc.binary_join_element_wise(*box, ","), ":")


def _put_back(part: pa.Table, entries: Sequence[Mapping[str, Any]]) -> pa.Array:
    inside = pa.repeat(False, len(part))
    for entry in entries:
        inside = pc.or_(inside, _inside(part, entry))
    return inside


def _inside(part: pa.Table, revert: Mapping[str, Any]) -> pa.Array:
    """Whether the box of each region lies in what a revert put back."""
    found = pc.and_(
        pc.greater_equal(part["frame"], revert["first_frame"]),
        pc.less_equal(part["frame"], revert["last_frame"]),
    )
    if revert["region"] is None:
        return found
    box = Box.parse(revert["region"])
    for first, size, least, most in (
        ("x", "width", box.x, box.x + box.width),
        ("y", "height", box.y, box.y + box.height),
    ):
        found = pc.and_(found, pc.greater_equal(part[first], least))
        found = pc.and_(found, pc.less_equal(pc.add(part[first], part[size]), most))
    return found


def sums(parts: Iterable[pa.Table]) -> RegionSums:
    """The regions in numbers."""
    total = RegionSums()
    for part in parts:
        repaired = part.filter(pc.equal(part["decision"], "repair"))
        total += RegionSums(suspects=len(part) - len(repaired))
        if len(repaired):
            areas = repaired["area"].to_pylist()
            largest = max(range(len(areas)), key=areas.__getitem__)
            frame = repaired["frame"][largest].as_py()
            total += RegionSums(len(repaired), 0, areas[largest], frame)
    return total
