"""The frames that a clip's page shows, and why: what proves a verdict, and the worst frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from jobs.report.entry import ReportEntry, Row
from jobs.report.stills import begin_middle_end
from schemas.tables import FRAMES


class Measure(NamedTuple):
    """What a page says of the worst frame of a measure. No frame is worst at ``floor`` or below."""

    words: str
    sql: str  # the higher, the worse
    floor: float
    shown: str  # format of its number; empty: none


MOST_SHOTS = 12  # of which a page shows a frame each
Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Shown:
    """A frame to show, the reasons, and the boxes to draw."""

    frame: int
    why: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


_ADDED = "{0}_after - {0}_before"
# Below its floor a measure did not get worse: rounding to 8 bits alone is more.
FRAME_MEASURES: dict[str, Measure] = {
    "psnr_to_source_db": Measure(
        "furthest from the source", "-psnr_to_source_db", -100, "PSNR {0:.1f} dB"
    ),
    "ssim_to_source": Measure(
        "least like the source in structure", "-ssim_to_source", -0.9999, "SSIM {0:.4f}"
    ),
    "largest_change": Measure("largest region that changed strongly", "largest_change", 0.001, ""),
    "pixels_changed": Measure("most pixels changed strongly", "pixels_changed", 0.005, ""),
    "chroma_shift": Measure("colour moved most", "chroma_shift", 1, "{0:.1f} code values"),
    "texture_added": Measure(
        "most fine detail or noise added in one part", "texture_added", 1, "{0:.1f} code values"
    ),
    "edges_kept": Measure("edges weakened most", "-edges_kept", -0.9, ""),
    "detail_kept": Measure("detail of one part weakened most", "-detail_kept", -0.9, ""),
    "shared_detail_kept": Measure(
        "detail that the frames beside it show weakened most", "-shared_detail_kept", -0.95, ""
    ),
    "unsupported_worst": Measure(
        "most change in one part that nothing explains", "unsupported_worst", 4,
        "{0:.1f} code values",
    ),
    "out_of_step": Measure("most like another frame of the source", "out_of_step", 0.25, ""),
    "mean_luma_after": Measure(
        "brightness moved most", "abs(mean_luma_after - mean_luma_before)", 0.5,
        "{0:.1f} code values",
    ),
    "gain_step_after": Measure(
        "largest jump of brightness added", "abs(gain_step_after) - abs(gain_step_before)", 0.002,
        "",
    ),
    "noise_sigma_after": Measure(
        "most noise added", _ADDED.format("noise_sigma"), 0.1, "{0:.2f} code values"
    ),
    "blur_after": Measure("most sharpness lost", _ADDED.format("blur"), 0.01, "blur +{0:.2f}"),
    "blockiness_after": Measure("most blocks added", _ADDED.format("blockiness"), 0.02, ""),
    "temporal_diff_after": Measure(
        "most unrest from frame to frame added", _ADDED.format("temporal_diff"), 0.1,
        "{0:.2f} code values",
    ),
    "ref_psnr_after_db": Measure(
        "furthest from what is right (reference)", "ref_psnr_before_db - ref_psnr_after_db", 0,
        "PSNR {0:.1f} dB worse",
    ),
}  # fmt: skip
_WORST_OF = """
SELECT clip_id, {columns} FROM frames
WHERE (clip_id, run) IN ({clips})
GROUP BY clip_id
"""
_FINDINGS_OF = """
SELECT * FROM findings WHERE (clip_id, run) IN ({clips})
ORDER BY clip_id, verdict = 'fail' DESC, rule
"""
_SHOTS_OF = """
SELECT clip_id, shot, start, stop, "left" FROM shots WHERE (clip_id, run) IN ({clips})
ORDER BY clip_id, shot
"""
_LAST_REVIEWS_OF = """
SELECT * FROM reviews WHERE clip_id IN (SELECT clip_id FROM clips WHERE (clip_id, run) IN ({clips}))
    AND region IS NULL
QUALIFY row_number() OVER (PARTITION BY clip_id ORDER BY run DESC) = 1
"""
_CLIPS_PER_QUERY = 50

Ask = Callable[[str], pa.Table]


def worst_frames(clips: Sequence[Row], query: Ask) -> dict[str, list[tuple[int, str]]]:
    """The worst frame of every measure of each clip, with the words for it."""
    kept = {key: measure for key, measure in FRAME_MEASURES.items() if key in FRAMES}
    columns = ", ".join(
        f"arg_max(frame, {m.sql}) AS frame_{n}, max({m.sql}) AS worst_{n}"
        for n, m in enumerate(kept.values())
    )
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in _rows(clips, query, _WORST_OF, columns=columns):
        for number, measure in enumerate(kept.values()):
            frame, value = row[f"frame_{number}"], row[f"worst_{number}"]
            if isinstance(frame, int) and isinstance(value, float) and value > measure.floor:
                amount = measure.shown.format(abs(value))
                words = f"{measure.words} ({amount})" if amount else measure.words
                found[str(row["clip_id"])].append((frame, words))
    return dict(found)


def findings_of(clips: Sequence[Row], query: Ask) -> dict[str, list[Row]]:
    """The findings of each clip, the gravest first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(clips, query, _FINDINGS_OF):
        found[str(row["clip_id"])].append(row)
    return dict(found)


def shots_of(clips: Sequence[Row], query: Ask) -> dict[str, list[Row]]:
    """The shots of each clip, in order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(clips, query, _SHOTS_OF):
        found[str(row["clip_id"])].append(row)
    return dict(found)


def reviews_of(clips: Sequence[Row], query: Ask) -> dict[str, Row]:
    """The last decision of a person about each clip, not about one of its regions."""
    return {str(row["clip_id"]): row for row in _rows(clips, query, _LAST_REVIEWS_OF)}


def _rows(clips: Sequence[Row], query: Ask, sql: str, **more: str) -> Iterable[Row]:
    for start in range(0, len(clips), _CLIPS_PER_QUERY):
        part = clips[start : start + _CLIPS_PER_QUERY]
        names = ", ".join(f"({_quoted(row['clip_id'])}, {_quoted(row['run'])})" for row in part)
        yield from query(sql.format(clips=names, **more)).to_pylist()


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def frames_to_show(entry: ReportEntry) -> list[Shown]:
    """The frames of a clip's page: proofs first, then the largest repair, the worst, the sheet, and
    one of each shot."""
    why: dict[int, list[str]] = defaultdict(list)
    boxes: dict[int, list[Box]] = defaultdict(list)
    for finding in entry.findings:
        frame = int(str(finding["frame"]))
        why[frame].append(str(finding["sentence"]).removeprefix(f"Frame {frame}: ").rstrip("."))
        if finding["box"]:
            x, y, width, height = map(int, str(finding["box"]).split(","))
            boxes[frame].append((x, y, width, height))
    for row in [row for row in entry.regions if row["decision"] == "repair"][:1]:
        frame = int(str(row["frame"]))
        why[frame].append("largest repair")
        box = row["x"], row["y"], row["width"], row["height"]
        x, y, width, height = (int(str(value)) for value in box)
        boxes[frame].append((x, y, width, height))
    for frame, words in entry.worst:
        why[frame].append(words)
    sheet = begin_middle_end(int(entry.number("frames") or 0))
    for frame, words in zip(sheet, ("beginning", "middle", "end"), strict=False):
        why[frame].append(words)
    for row in entry.shots[:MOST_SHOTS] if len(entry.shots) > 1 else ():
        middle = (int(str(row["start"])) + int(str(row["stop"]))) // 2
        why[middle].append(f"shot {row['shot']}")
    return [Shown(frame, tuple(why[frame]), tuple(boxes[frame])) for frame in why]
