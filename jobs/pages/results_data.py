"""The data of `docs/benchmarks/results.jsonl`: read, checked, and added to by commands.

Oldest first: one row for each method that was scored on one damage, and one for each measure of
`make bench`. What `archive-restore evaluate` wrote is appended; nobody types a number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import ArchiveError

Row = dict[str, Any]  # one line of the file: a JSON object

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "docs" / "benchmarks" / "results.jsonl"
DIGESTS = ROOT / "models" / "weights" / "SHA256SUMS"
SECONDS = "CPU-seconds a frame"  # a unit that the bench has in the name of the measure
SHORT = 8  # characters of a digest that name weights

WHERE = ("date", "commit", "machine", "command")
REQUIRED = {
    "score": (*WHERE, "damage", "clips", "frames", "method", "family", "psnr_db", "gain_db"),
    "bench": (*WHERE, "measure", "value", "unit"),
}
SCORES = {  # name in the data: title, name in evaluation.json, digits
    "ssim": ("SSIM", "ssim", 3),
    "temporal_error": ("temporal error", "td", 1),
    "flicker": ("flicker", "fl", 2),
    "sharpness": ("sharpness", "sharp", 2),
    "vmaf": ("VMAF", "vmaf", 1),
    "jod": ("JOD", "jod", 2),
    "in_scratches_db": ("in scratches dB", "psnr_in_scratch_db", 1),
    "in_dust_db": ("in dust dB", "psnr_in_dust_db", 2),
    "in_blotches_db": ("in blotches dB", "psnr_in_blotch_db", 2),
    "outside_db": ("outside dB", "psnr_outside_db", 2),
    "cpu_seconds_a_frame": ("CPU-seconds a frame", "cpu_s_per_frame", 3),
}


def checked(row: Row, place: str) -> Row:
    """The row; ArchiveError if it lacks what makes its numbers repeatable."""
    if row.get("kind") not in REQUIRED:
        raise ArchiveError(f"{place}: kind is {row.get('kind')!r}, not score or bench")
    for name in REQUIRED[row["kind"]]:
        if row.get(name) in (None, ""):
            raise ArchiveError(f"{place}: no {name}; a number without it is not kept")
    return row


def read(path: Path = DATA) -> list[Row]:
    """The rows of a file, oldest first."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [checked(json.loads(line), f"{path.name} line {n}") for n, line in enumerate(lines, 1)]


def rows_of(evaluation: Row, commit: str, machine: str, date: str, weights: str = "") -> list[Row]:
    """The rows of one `evaluation.json`; `weights` is their digest if they are not the shipped."""
    request = evaluation["asked"]
    sizes: list[str] = (request.get("model") or {}).get("sizes", [])
    steps: int = (request.get("model") or {}).get("steps", 1)
    settings = {
        "max_side": request["max_side"],
        "frames": request["frames"],
        "seed": request["seed"],
    }
    where = {"date": date, "commit": commit, "machine": machine, "command": command(evaluation)}
    rows = []
    for found in evaluation["rows"]:
        method, ours = found["method"], found["family"] == "ours"
        if ours:
            size = method.removeprefix("ours").strip() or sizes[0]
            method = f"ours {size}" + (f", {steps} steps" if steps > 1 else "")
        row = {"kind": "score", **where, "damage": found["preset"], "clips": found["clips"]}
        row |= settings | {"method": method, "family": found["family"]}
        row |= {"weights": (weights or shipped(size))[:SHORT] if ours else None}
        row["strength"] = found["strength"]
        for name in ("psnr", "gain"):
            for mine, theirs in (("_db", "_db"), ("_low", "_low_db"), ("_high", "_high_db")):
                row[f"{name}{mine}"] = round(found[f"{name}{theirs}"], 4)
        for name, (_, theirs, _) in SCORES.items():
            if found.get(theirs) is not None:
                row[name] = round(found[theirs], 4)
        if ours:
            row["psnr_by_clip"] = {
                one["clip"]: round(one["psnr_db"], 3)
                for one in evaluation["clips"]
                if (one["preset"], one["method"]) == (found["preset"], found["method"])
            }
        rows.append(checked(row, "evaluation.json"))
    return rows


def command(evaluation: Row) -> str:
    """The command line that asks for this evaluation; FOLDER stands for its clips."""
    request, rows = evaluation["asked"], evaluation["rows"]
    model = request.get("model") or {"sizes": [], "steps": 1}
    methods = dict.fromkeys(r["method"] for r in rows if r["family"] in ("filter", "chain"))
    words = [
        "archive-restore evaluate FOLDER",
        *(f"--damage {name}" for name in request["presets"]),
    ]
    words += [f"--frames {request['frames']}", f"--seed {request['seed']}"]
    words += [f"--max-side {request['max_side']}"] if request["max_side"] else []
    words += [f"--method {name}" for name in [*methods, *(["ours"] if model["sizes"] else [])]]
    words += [f"--size {size}" for size in model["sizes"]]
    return " ".join(words + ([f"--steps {model['steps']}"] if model["steps"] > 1 else []))


def shipped(size: str) -> str:
    """The digest of the weights of a size that are shipped with this code."""
    for line in DIGESTS.read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        if name == f"{size}.safetensors":
            return digest
    raise ArchiveError(f"no weights of size {size!r} are shipped: give their digest (--weights)")


def add(
    folder: Path, commit: str, machine: str, *, date: str, weights: str = "", data: Path = DATA
) -> list[Row]:
    """Append the scores that `archive-restore evaluate --out FOLDER` wrote; the rows."""
    path = folder / "evaluation.json"
    if not path.is_file():
        raise ArchiveError(f"no {path}: name the --out folder of archive-restore evaluate")
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    return append(rows_of(evaluation, commit, machine, date, weights), data)


def add_bench(text: str, commit: str, machine: str, *, date: str, data: Path = DATA) -> list[Row]:
    """Append the measures of the table that `make bench` printed; the rows."""
    where = {"date": date, "commit": commit, "machine": machine, "command": "make bench"}
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[1][:1].isdigit():
            value, _, unit = cells[1].partition(" ")
            unit = unit or (SECONDS if SECONDS in cells[0] else "ratio")
            row = {"kind": "bench", **where, "measure": cells[0], "value": float(value)}
            rows.append(checked(row | {"unit": unit, "aim": cells[2] or None}, "bench"))
    if not rows:
        raise ArchiveError("no table of `make bench` was found")
    return append(rows, data)


def append(rows: Sequence[Row], data: Path) -> list[Row]:
    """Append the rows to the data, unless they are there."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    known = data.read_text(encoding="utf-8") if data.exists() else ""
    if lines[0] in known.splitlines():
        raise ArchiveError(f"these rows are in {data.name} already")
    data.write_text(known + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return list(rows)
