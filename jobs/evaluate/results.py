"""Files of an evaluation: rows as Parquet, all facts as JSON, a table and a picture."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.evaluate.baselines import ffmpeg_version
from jobs.evaluate.samples import Clip, Picture
from jobs.evaluate.scores import bootstrap

Row = dict[str, object]

TITLES = {
    "ssim": "SSIM",
    "td": "td",
    "fl": "fl",
    "sharp": "sharp",
    "vmaf": "VMAF",
    "jod": "JOD",
    "psnr_in_scratch_db": "in scratches",
    "psnr_in_dust_db": "in dust",
    "psnr_in_blotch_db": "in blotches",
    "psnr_outside_db": "outside",
    "cpu_s_per_frame": "CPU-s/frame",
}
LEGEND = (
    "PSNR: dB over RGB, mean over frames, then over clips, with its 95 % bootstrap interval over "
    "clips. gain: PSNR gain over the damaged input, clip by clip. td: RMS error of frame "
    "differences, in grey levels. fl: deviation of the mean error over time, in grey levels. "
    "sharp: gradient energy divided by that of the truth. in/outside: PSNR inside or outside the "
    "simulator's defect masks. Every filter has the strength with the best mean PSNR on the centre "
    "of these same clips; this favours the filters."
)
LABEL_LINE_PX, PICTURE_GAP_PX = 16, 4
FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.4
DIGITS = {"ssim": 3, "cpu_s_per_frame": 3, "td": 1, "psnr_in_scratch_db": 1, "vmaf": 1}
DEFAULT_DIGITS = 2
SHEET_CLIPS = 12  # rows of the picture, at most


@dataclass(frozen=True)
class Crop:
    """The same square of pixels of one frame, cut out of every version of a clip."""

    frame: int
    top: int
    left: int
    side: int

    @classmethod
    def worst(cls, damaged: Clip, truth: Clip, side: int) -> Crop:
        """Return the square with the worst damage of the middle frame, exposure excluded."""
        frame = len(truth) // 2
        error = damaged[frame].astype(np.float32) - truth[frame]
        energy = np.square(error - error.mean(axis=(0, 1))).sum(axis=2)
        height, width = energy.shape
        side = min(side, height, width)
        total = cv2.blur(energy, (side, side), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
        inside = total[: height - side + 1, : width - side + 1]
        top, left = np.unravel_index(int(inside.argmax()), inside.shape)
        return cls(frame, int(top), int(left), side)

    def cut(self, clip: Clip) -> Picture:
        """Cut the square out of a clip."""
        rows = slice(self.top, self.top + self.side)
        return clip[self.frame, rows, self.left : self.left + self.side].copy()


@dataclass(frozen=True)
class ScoredClip:
    """One clip aged by one preset: a row and a crop for each method, and the crop of the truth."""

    clip: str
    preset: str
    rows: list[Row]
    pictures: dict[str, Picture]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: its clips, and the mean PSNR by preset, baseline and strength."""

    clips: list[ScoredClip]
    curves: dict[str, dict[str, dict[float, float]]]

    @property
    def rows(self) -> list[Row]:
        """One row for each clip, preset and method."""
        return [row for clip in self.clips for row in clip.rows]


def summarise(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """Return a row per preset and method: means over clips; PSNR and gain with intervals."""
    groups: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["preset"], row["method"]), []).append(row)
    summary: list[Row] = []
    for (preset, method), group in groups.items():
        identity = {row["clip"]: _number(row["psnr_db"]) for row in groups[(preset, "identity")]}
        psnr = [_number(row["psnr_db"]) for row in group]
        gains = [_number(row["psnr_db"]) - identity[row["clip"]] for row in group]
        line: Row = {"preset": preset, "method": method, "family": group[0]["family"]}
        line |= {"strength": group[0]["strength"], "clips": len(group)}
        for name, values in (("psnr", psnr), ("gain", gains)):
            part = bootstrap(values, seed)
            line |= {f"{name}_db": part.mean, f"{name}_low_db": part.low}
            line[f"{name}_high_db"] = part.high
        for name in TITLES:
            line[name] = bootstrap(
                [_number(row[name]) for row in group if name in row], seed, 1
            ).mean
        summary.append(line)
    return summary


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def verdicts(summary: Sequence[Row]) -> dict[str, Row]:
    """Return, by preset, the gain of our model over the damaged input, the best single filter and
    the best chain, and the lead of our model over each, in dB.
    """
    found: dict[str, Row] = {}
    for preset in dict.fromkeys(str(row["preset"]) for row in summary):
        rows = [row for row in summary if row["preset"] == preset]
        ours: Row = next((row for row in reversed(rows) if row["family"] == "ours"), {})
        verdict: Row = {"gain_db": _number(ours.get("gain_db"))}
        for family in ("filter", "chain"):
            baselines = [row for row in rows if row["family"] == family]
            best: Row = max(baselines, key=lambda row: _number(row["psnr_db"]), default={})
            above = _number(ours.get("psnr_db")) - _number(best.get("psnr_db"))
            verdict |= {f"best_{family}": best.get("method"), f"over_best_{family}_db": above}
            verdict[f"best_{family}_gain_db"] = _number(best.get("gain_db"))
        found[preset] = verdict
    return found


def markdown(summary: Sequence[Row]) -> str:
    """Return one Markdown table per preset, the best PSNR last."""
    blocks: list[str] = []
    for preset in dict.fromkeys(row["preset"] for row in summary):
        rows = [row for row in summary if row["preset"] == preset]
        shown = [n for n in TITLES if not all(math.isnan(_number(row[n])) for row in rows)]
        titles = ["method", "strength", "PSNR", "gain", *(TITLES[name] for name in shown)]
        lines = [titles, ["---"] * len(titles)]
        for row in sorted(rows, key=lambda row: _number(row["psnr_db"])):
            strength = "" if row["strength"] is None else f"{row['strength']:g}"
            cells = [str(row["method"]), strength, _interval(row, "psnr"), _interval(row, "gain")]
            lines.append(cells + [_cell(name, _number(row[name])) for name in shown])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        blocks.append(f"**{preset}**, {rows[0]['clips']} clips\n\n{table}")
    return "\n\n".join([*blocks, LEGEND])


def _interval(row: Row, name: str) -> str:
    mean, low, high = (_number(row[f"{name}{end}_db"]) for end in ("", "_low", "_high"))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.{DIGITS.get(name, DEFAULT_DIGITS)}f}"


def contact_sheet(result: Evaluation, limit: int = SHEET_CLIPS) -> Picture:
    """Return a picture: for each clip, crops of damaged, best baseline, our model and truth.

    The best baseline has the best mean PSNR over the preset's clips; chains count too.
    """
    summary = summarise(result.rows)
    strips: list[Picture] = []
    for clip in result.clips[:limit]:
        rows = [row for row in summary if row["preset"] == clip.preset]
        others = [row for row in rows if row["family"] in ("filter", "chain")]
        best = max(others, key=lambda row: _number(row["psnr_db"]), default=None)
        own = [str(row["method"]) for row in clip.rows if row["family"] == "ours"]
        names = ["identity", *([str(best["method"])] if best else []), *own[-1:], "truth"]
        psnr = {str(row["method"]): _number(row["psnr_db"]) for row in clip.rows}
        crops = []
        for name in (name for name in names if name in clip.pictures):
            title = "damaged" if name == "identity" else name
            figure = f"{psnr[name]:.1f} dB" if name in psnr else clip.clip
            crops.append(_labelled(clip.pictures[name], title, figure))
        strips.append(np.hstack(crops))
    width = max(strip.shape[1] for strip in strips)
    missing = [((0, 0), (0, width - strip.shape[1]), (0, 0)) for strip in strips]
    return np.vstack(
        [np.pad(s, edges, constant_values=255) for s, edges in zip(strips, missing, strict=True)]
    )


def _labelled(picture: Picture, *lines: str) -> Picture:
    """Return a picture below its label. A line that is too long ends in dots."""
    edges = ((LABEL_LINE_PX * len(lines), 0), (0, PICTURE_GAP_PX), (0, 0))
    framed = np.pad(picture, edges, constant_values=255)
    for k, line in enumerate(lines):
        text = shortened(line, picture.shape[1])
        cv2.putText(framed, text, (2, LABEL_LINE_PX * k + 12), *FONT, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def shortened(text: str, width: int) -> str:
    """Return the text, cut to ``width`` pixels of a label if needed."""
    kept = text
    while kept and cv2.getTextSize(kept, *FONT, 1)[0][0] > width - 2:
        text = text[:-1]
        kept = text and f"{text}.."
    return kept


def publish(result: Evaluation, out: Path, request: Mapping[str, object]) -> dict[str, object]:
    """Write scores.parquet, evaluation.json, table.md and sheet.png below ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(result.rows)
    names = ("scores.parquet", "table.md", "sheet.png", "evaluation.json")
    files = {name: str(out / name) for name in names}
    pq.write_table(pa.Table.from_pylist(result.rows), files["scores.parquet"])
    text = markdown(summary)
    Path(files["table.md"]).write_text(text + "\n", encoding="utf-8")
    cv2.imwrite(files["sheet.png"], cv2.cvtColor(contact_sheet(result), cv2.COLOR_RGB2BGR))
    answer: dict[str, object] = {
        "asked": dict(request),
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine()},
        "versions": {"archive-restore": version("archive-restore"), "ffmpeg": _ffmpeg(result)},
        "rows": summary,
        "verdicts": verdicts(summary),
        "tuning_psnr_db": {
            preset: {
                name: {f"{s:g}": psnr for s, psnr in curve.items()} for name, curve in m.items()
            }
            for preset, m in result.curves.items()
        },
        "clips": result.rows,
        "markdown": text,
        "files": files,
    }
    clean = json.loads(json.dumps(answer), parse_constant=lambda _: None)
    Path(files["evaluation.json"]).write_text(json.dumps(clean, indent=1), encoding="utf-8")
    return dict(clean)


def _ffmpeg(result: Evaluation) -> str | None:
    return ffmpeg_version() if any(result.curves.values()) else None
