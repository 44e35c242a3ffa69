"""What an evaluation leaves behind: rows as Parquet, everything as JSON, a table, a picture."""

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
from numpy.typing import NDArray

from jobs.evaluate.baselines import ffmpeg_version
from jobs.evaluate.scores import bootstrap

Clip = NDArray[np.uint8]  # (T, H, W, 3) RGB
Picture = NDArray[np.uint8]  # (H, W, 3) RGB
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
    "PSNR in dB over RGB, mean over frames, then over clips, with its 95 % bootstrap interval over "
    "clips; gain over the damaged input, paired by clip. td: RMS error of frame differences, fl: "
    "deviation over time of the mean error, both in grey levels. sharp: gradient energy over the "
    "truth's. In/outside: PSNR over the simulator's defect masks. Every filter is at the strength "
    "of its grid with the best mean PSNR on these very clips (centre crops), which flatters it."
)
LINE_PX, GAP_PX = 16, 4  # of a label, and right of a picture
FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.4


@dataclass(frozen=True)
class Tile:
    """The same square of pixels of one frame, cut out of every version of a clip."""

    frame: int
    top: int
    left: int
    side: int

    @classmethod
    def worst(cls, damaged: Clip, truth: Clip, side: int) -> Tile:
        """Where the damage of the middle frame is worst, its change of exposure apart."""
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
        """The square of a clip."""
        rows = slice(self.top, self.top + self.side)
        return clip[self.frame, rows, self.left : self.left + self.side].copy()


@dataclass(frozen=True)
class ClipResult:
    """One clip aged by one preset: a row and a picture per method, and the truth's picture."""

    clip: str
    preset: str
    rows: list[Row]
    pictures: dict[str, Picture]


@dataclass(frozen=True)
class Result:
    """An evaluation: its clips, and mean PSNR by preset, peer and strength."""

    clips: list[ClipResult]
    curves: dict[str, dict[str, dict[float, float]]]

    @property
    def rows(self) -> list[Row]:
        """A row per clip, preset and method."""
        return [row for clip in self.clips for row in clip.rows]


def summarise(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """A row per preset and method: means over clips, PSNR and its gain with their intervals."""
    groups: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["preset"], row["method"]), []).append(row)
    summary: list[Row] = []
    for (preset, method), mine in groups.items():
        identity = {row["clip"]: _number(row["psnr_db"]) for row in groups[(preset, "identity")]}
        psnr = [_number(row["psnr_db"]) for row in mine]
        gains = [_number(row["psnr_db"]) - identity[row["clip"]] for row in mine]
        line: Row = {"preset": preset, "method": method, "family": mine[0]["family"]}
        line |= {"strength": mine[0]["strength"], "clips": len(mine)}
        for name, values in (("psnr", psnr), ("gain", gains)):
            part = bootstrap(values, seed)
            line |= {f"{name}_db": part.mean, f"{name}_low_db": part.low}
            line[f"{name}_high_db"] = part.high
        for name in TITLES:
            line[name] = bootstrap(
                [_number(row[name]) for row in mine if name in row], seed, 1
            ).mean
        summary.append(line)
    return summary


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def verdicts(summary: Sequence[Row]) -> dict[str, Row]:
    """By preset: our gain over the damaged input; the best single filter, the best chain, and what
    ours is above them, in dB.
    """
    answer: dict[str, Row] = {}
    for preset in dict.fromkeys(str(row["preset"]) for row in summary):
        rows = [row for row in summary if row["preset"] == preset]
        ours: Row = next((row for row in reversed(rows) if row["family"] == "ours"), {})
        verdict: Row = {"gain_db": _number(ours.get("gain_db"))}
        for family in ("filter", "chain"):
            peers = [row for row in rows if row["family"] == family]
            best: Row = max(peers, key=lambda row: _number(row["psnr_db"]), default={})
            above = _number(ours.get("psnr_db")) - _number(best.get("psnr_db"))
            verdict |= {f"best_{family}": best.get("method"), f"over_best_{family}_db": above}
            verdict[f"best_{family}_gain_db"] = _number(best.get("gain_db"))
        answer[preset] = verdict
    return answer


def markdown(summary: Sequence[Row]) -> str:
    """The table for people, best PSNR last; one per preset."""
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
    digits = {"ssim": 3, "cpu_s_per_frame": 3, "td": 1, "psnr_in_scratch_db": 1, "vmaf": 1}.get(
        name, 2
    )
    return f"{value:.{digits}f}"


def sheet(result: Result, limit: int = 12) -> Picture:
    """A row per clip at native pixels: damaged, the best other method, ours if run, the truth.

    The best is by mean PSNR over the preset's clips, chains included.
    """
    summary = summarise(result.rows)
    strips: list[Picture] = []
    for clip in result.clips[:limit]:
        others = [
            row for row in summary
            if row["preset"] == clip.preset and row["family"] in ("filter", "chain")
        ]  # fmt: skip
        best = max(others, key=lambda row: _number(row["psnr_db"]), default=None)
        own = [str(row["method"]) for row in clip.rows if row["family"] == "ours"]
        names = ["identity", *([str(best["method"])] if best else []), *own[-1:], "truth"]
        psnr = {str(row["method"]): _number(row["psnr_db"]) for row in clip.rows}
        tiles = []
        for name in (name for name in names if name in clip.pictures):
            title = "damaged" if name == "identity" else name
            figure = f"{psnr[name]:.1f} dB" if name in psnr else clip.clip
            tiles.append(_labelled(clip.pictures[name], title, figure))
        strips.append(np.hstack(tiles))
    width = max(strip.shape[1] for strip in strips)
    return np.vstack([
        np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips
    ])  # fmt: skip


def _labelled(picture: Picture, *lines: str) -> Picture:
    """A picture below its label; lines too long for it end in dots."""
    edges = ((LINE_PX * len(lines), 0), (0, GAP_PX), (0, 0))
    framed = np.pad(picture, edges, constant_values=255)
    for k, line in enumerate(lines):
        text = shortened(line, picture.shape[1])
        cv2.putText(framed, text, (2, LINE_PX * k + 12), *FONT, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def shortened(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits into ``width`` pixels of a label."""
    kept = text
    while kept and cv2.getTextSize(kept, *FONT, 1)[0][0] > width - 2:
        text = text[:-1]
        kept = text and f"{text}.."
    return kept


def publish(result: Result, out: Path, asked: Mapping[str, object]) -> dict[str, object]:
    """Write scores.parquet, evaluation.json, table.md and sheet.png below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(result.rows)
    files = {
        n: str(out / n) for n in ("scores.parquet", "table.md", "sheet.png", "evaluation.json")
    }
    pq.write_table(pa.Table.from_pylist(result.rows), files["scores.parquet"])
    text = markdown(summary)
    Path(files["table.md"]).write_text(text + "\n", encoding="utf-8")
    cv2.imwrite(files["sheet.png"], cv2.cvtColor(sheet(result), cv2.COLOR_RGB2BGR))
    answer: dict[str, object] = {
        "asked": dict(asked),
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine()},
        "versions": {"archive-restore": _version(), "ffmpeg": _ffmpeg(result)},
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


def _version() -> str:
    return version("archive-restore")


def _ffmpeg(result: Result) -> str | None:
    return ffmpeg_version() if any(result.curves.values()) else None
