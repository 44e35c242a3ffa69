"""What was done to a clip, in plain language, from recorded numbers only.

For catalogues, and for people who do not know the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def statement(row: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """The statement as sentences. `row` is the clip's row of tables/clips, with any recipe."""
    frames, changed = _count(row, "frames"), _count(row, "frames_changed")
    if not changed:
        return (
            "No picture was changed: every frame is the source's, bit for bit. "
            f"{_frames(frames)} were looked at."
        )
    sentences = [
        "This is an AI-assisted restoration, not the original.",
        f"{changed:,} of {_frames(frames)} differ from the source{_share(row)}.",
        _repairs(row),
        _made(row),
        _exposure(row),
        _grain(recipe),
        _left(row),
        _put_back(row),
        f"The model was {row['model']}, by the recipe {recipe.get('name', 'custom')}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _count(row: Mapping[str, Any], name: str) -> int:
    return int(row.get(name) or 0)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"


def _share(row: Mapping[str, Any]) -> str:
    share = row.get("share_changed")
    return "" if share is None else f", in {100 * share:.1f} % of the picture"


def _repairs(row: Mapping[str, Any]) -> str:
    count = _count(row, "regions_repaired")
    if not count:
        return "No region was filled as a defect."
    filled = "1 region was" if count == 1 else f"{count:,} regions were"
    pixels, frame = _count(row, "largest_repair"), row.get("largest_repair_frame")
    where = "" if frame is None else f"; the largest has {pixels:,} pixels, in frame {frame}"
    return f"{filled} filled as defects from the frames around them{where}."


def _made(row: Mapping[str, Any]) -> str:
    made = _count(row, "frames_filled")
    if not made:
        return "No frame was made anew."
    return f"{_frames(made)} {'was' if made == 1 else 'were'} made anew: nothing recorded them."


def _exposure(row: Mapping[str, Any]) -> str:
    low, high = row.get("exposure_gain_min"), row.get("exposure_gain_max")
    if low is None or high is None or low == high == 1:
        return ""
    return f"Brightness was corrected by {100 * (low - 1):+.0f} to {100 * (high - 1):+.0f} %."


def _grain(recipe: Mapping[str, Any]) -> str:
    grain = float(recipe.get("grain", 1))
    if grain == 1:
        return "Grain was kept."
    return "Grain was taken away." if not grain else f"{100 * grain:.0f} % of the grain was kept."


def _left(row: Mapping[str, Any]) -> str:
    suspects, frames = _count(row, "suspects"), _count(row, "frames_left")
    left = [
        *([f"{suspects:,} regions that may be real things"] if suspects > 1 else []),
        *(["1 region that may be a real thing"] if suspects == 1 else []),
        *([_frames(frames)] if frames else []),
    ]
    return f"Left unchanged: {', and '.join(left)}." if left else ""


def _put_back(row: Mapping[str, Any]) -> str:
    frames = _count(row, "frames_reverted")
    return f"A person put source pixels back in {_frames(frames)}." if frames else ""
