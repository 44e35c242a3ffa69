"""What a C2PA manifest asserts of a restored file, from the numbers in the clip's record.

JPEG Trust (ISO/IEC 21617-1, 5.2 and 5.3) asks four facts of a modification: its extent, its type,
its region and its purpose. The action `c2pa.edited` has them as parameters and changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.clip.changes import ENHANCED, GENERATED
from pipeline.proof.statement import statement

LISTED = 50  # regions in `changes`, the largest first; all are counted
SOURCE = "source"  # label of the ingredient
_EXTENT = (
    "frames", "frames_changed", "frames_left", "frames_filled", "frames_reverted", "share_changed",
    "share_repaired", "source_share", "defect_share",
)  # fmt: skip


def manifest(
    record: Mapping[str, Any],
    name: str,
    format: str,
    code: str,
    regions: Iterable[pa.Table] = (),
) -> dict[str, Any]:
    """The manifest of the file `name`, for c2pa-python.

    `record` is the clip's record, `format` the media type, `code` the version of this program.
    `regions` are parts of tables/regions.
    """
    row, program = record["row"], {"name": "archive-restore", "version": code}
    source = str(row["source_uri"]).rpartition("/")[2]
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": [SOURCE]}}
    ]
    if row["frames_changed"]:
        actions.append(_restored(record, program, _largest(regions)))
    if name != str(row["output_uri"]).rpartition("/")[2]:
        actions.append(_derived(record, name, program))
    return {
        "claim_generator_info": [program],
        "title": name,
        "format": format,
        "ingredients": [
            {
                "title": source,
                "relationship": "parentOf",
                "label": SOURCE,
                "instance_id": f"urn:sha256:{record['source_sha256']}",
                "description": f"the source, SHA-256 {record['source_sha256']}",
            }
        ],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _restored(
    record: Mapping[str, Any], program: Mapping[str, str], largest: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The restoration. It edits what the picture shows only where a region was repaired or made."""
    row, recipe = record["row"], record["recipe"]
    repaired, filled = row.get("regions_repaired") or 0, row.get("frames_filled") or 0
    kinds = [
        *(["repair of defects"] if repaired else []),
        *(["frames made anew"] if filled else []),
        "correction of exposure, grain and coding",
    ]
    found = [
        {key: one[key] for key in ("rule", "verdict", "number", "rule_limit", "frame", "box")}
        for one in row.get("finding_rows", ())
    ]
    action: dict[str, Any] = {
        "action": "c2pa.edited" if repaired or filled else "c2pa.enhanced",
        "digitalSourceType": row.get("digital_source_type") or (GENERATED if filled else ENHANCED),
        "softwareAgent": program,
        "description": statement(row, recipe),
        "parameters": {
            "extent": _known({key: row.get(key) for key in _EXTENT}),
            "type": kinds,
            "region": _known({
                "repaired": repaired, "left_as_they_may_be_real": row.get("suspects"),
                "listed_in_changes": len(largest),
            }),
            "purpose": "restoration of damaged film and video",
            "recipe": recipe.get("name"), "recipe_sha256": row["recipe_sha256"],
            "model": row["model"], "weights_sha256": row["weights_sha256"],
            "verdict": row.get("verdict") or "unknown", "rules_broken": found,
        },
    }  # fmt: skip
    if largest:
        action["changes"] = [_change(one) for one in largest]
    return action


def _derived(record: Mapping[str, Any], name: str, program: Mapping[str, str]) -> dict[str, Any]:
    profile = next(one["profile"] for one in record["derived"] if one["file"] == name)
    return {
        "action": "c2pa.transcoded",
        "softwareAgent": program,
        "parameters": {
            "profile": profile, "restored_file_sha256": record["row"]["output_sha256"]
        },
    }  # fmt: skip


def _largest(parts: Iterable[pa.Table]) -> list[Mapping[str, Any]]:
    """The largest repaired regions, in the order of frames."""
    largest: list[Mapping[str, Any]] = []
    for part in parts:
        rows = [one for one in part.to_pylist() if one["decision"] == "repair"]
        largest = sorted([*largest, *rows], key=lambda one: -one["area"])[:LISTED]
    return sorted(largest, key=lambda one: (one["frame"], one["y"], one["x"]))


def _change(one: Mapping[str, Any]) -> dict[str, Any]:
    """A repaired region as C2PA describes regions: the box in pixels, and the frame."""
    return {
        "name": "repaired defect",
        "description": f"{one['area']} pixels of frame {one['frame']} of the restored file",
        "region": [
            {"type": "frame", "frame": {"start": one["frame"], "end": one["frame"]}},
            {
                "type": "spatial",
                "shape": {
                    "type": "rectangle", "unit": "pixel",
                    "origin": {"x": float(one["x"]), "y": float(one["y"])},
                    "width": float(one["width"]), "height": float(one["height"]),
                },
            },
        ],
    }  # fmt: skip


def _known(facts: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in facts.items() if value is not None}
