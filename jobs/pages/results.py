"""The page of results, `docs/benchmarks/README.md`, made from `docs/benchmarks/results.jsonl`.

`python -m jobs.pages.results add FOLDER` takes in what `archive-restore evaluate` wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.console import output
from jobs.console.errors import Commands
from jobs.pages import results_data
from jobs.pages.results_data import SCORES, Row, read

Line = tuple[str, ...]  # cells
DAMAGES = {
    "film": "Film damage",
    "g25": "White noise of 25 grey levels",
    "tape": "Tape damage",
    "web": "Heavy web compression",
    "clean": "Undamaged clips",
}
NUMBER = re.compile(r"^[*+-]*[\d.]+( \(.*\))?\**$|^$")  # a cell: a number, its interval, or empty

HEAD = """# Results

Generated from [results.jsonl](results.jsonl) by `python -m jobs.pages.docs`; do not edit by hand.
To add an evaluation: `python -m jobs.pages.results add FOLDER --commit HASH --machine TEXT`.
FOLDER is the `--out` of `archive-restore evaluate`. To add a bench, use `add-bench`.

The clips are clean, and no model was trained on them.
The [damage simulator](../damage.md) ages one shot of each clip.
Then every method gets the same frames. In a command, FOLDER is the folder of the clips.

![Crops: damaged, best of the filters, base, truth](../images/evaluation.jpg)

## Columns

| column | meaning |
|---|---|
| method | `identity` does nothing: the damaged clip. `ours` is the model, with its size |
| strength | of the filter: the best on these very clips, which flatters the filter |
| weights | first characters of the SHA-256 of the weights |
| PSNR dB | over RGB, mean over frames, then over clips; 95 % bootstrap interval over clips |
| gain dB | PSNR minus that of the damaged clip, paired by clip, with its interval |
| temporal error | RMS error of the differences between frames, grey levels |
| flicker | deviation over time of a frame's mean error, grey levels |
| sharpness | energy of the gradient over that of the truth: below 1 is soft, above 1 is noisy |
| VMAF | perceptual score, v0.6.1, at most 100 |
| JOD | perceptual score of ColorVideoVDP: 10 is no visible difference |
| in scratches, dust, blotches | PSNR over the pixels with that defect |
| outside | PSNR over the pixels without a defect |
| CPU-seconds a frame | with the start of the filter, without the loading of the model |

Other work on a machine raises the CPU-seconds. Compare them within one run only.
Methods have today's names: before commit 902c8f8, `base` was called `fast`, and `large` was
called `base`. Commands are printed as they were run, so in older ones `--size` has the older name.
Before 902c8f8 the commit of a score is the one that published it. Later, and for `make bench`, it
is the one that was run.
More about the scores: [metrics](../metrics.md).
"""


def results_markdown() -> str:
    """The page `docs/benchmarks/README.md`."""
    return page(read())


def page(rows: Sequence[Row]) -> str:
    """The page of these rows: newest results, results over time, benches."""
    scores = [row for row in rows if row["kind"] == "score"]
    benches = [row for row in rows if row["kind"] == "bench"]
    parts = [HEAD, "## Newest results", *newest_parts(scores), "## Over time", *history(scores)]
    return "\n\n".join(part.strip() for part in [*parts, "## `make bench`", *bench(benches)]) + "\n"


def setting(row: Row) -> tuple[Any, ...]:
    """What must be equal for two scores to be comparable."""
    return tuple(row.get(name) for name in ("damage", "max_side", "frames", "clips", "seed"))


def newest(scores: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """The last row of each method, by setting, where the model was scored with its last weights."""
    last: dict[tuple[Any, ...], dict[str, Row]] = {}
    weights: dict[str, str | None] = {}
    for row in scores:
        last.setdefault(setting(row), {})[row["method"]] = row
        weights[row["method"]] = row.get("weights")
    current = {
        key: sorted(rows.values(), key=lambda row: float(row["psnr_db"]))
        for key, rows in last.items()
        if any(
            r["family"] == "ours" and r["weights"] == weights[r["method"]] for r in rows.values()
        )
    }
    order = list(DAMAGES)
    rank = {key: order.index(key[0]) if key[0] in order else len(order) for key in current}
    keys = sorted(current, key=lambda key: (rank[key], key[1] is not None, key[1] or 0))
    return {key: current[key] for key in keys}


def newest_parts(scores: Sequence[Row]) -> list[str]:
    """The newest scores, a section for each damage, then the runs and the clips one by one."""
    groups = newest(scores)
    runs = list(dict.fromkeys(_run(row) for rows in groups.values() for row in rows))
    parts: list[str] = []
    for rows in groups.values():
        parts += [f"### {title(rows[0])}", scores_table(rows, runs), margins(rows)]
    lines = [[str(n), *run] for n, run in enumerate(runs, 1)]
    heads = ["run", "date", "commit", "machine", "command", "note"]
    return [*filter(None, parts), "### Runs", table(heads, lines), *by_clip(groups.values())]


def title(row: Row) -> str:
    """What a section is about: damage, size, frames, clips."""
    side = row.get("max_side")
    size = f"at most {side} pixels" if side else "own size"
    name = DAMAGES.get(row["damage"], row["damage"])
    return f"{name}: {size}, {row['frames']} frames of {row['clips']} clips"


def _run(row: Row) -> Line:
    machine, note = row["machine"], row.get("note", "")
    return row["date"], row["commit"], machine, f"`{row['command']}`", note


def scores_table(rows: Sequence[Row], runs: Sequence[Line]) -> str:
    """Every score of the rows that at least one of them has."""
    names = [name for name in SCORES if any(name in row for row in rows)]
    heads = ["method", "strength", "weights", "PSNR dB", "gain dB"]
    lines = []
    for row in rows:
        strength = "" if row.get("strength") is None else f"{row['strength']:g}"
        cells = [row["method"], strength, row.get("weights") or ""]
        cells += [_interval(row, "psnr"), _interval(row, "gain")]
        cells += [_cell(row, name, SCORES[name][2]) for name in names]
        cells = [f"**{cell}**" if cell and row["family"] == "ours" else cell for cell in cells]
        lines.append([*cells, str(runs.index(_run(row)) + 1)])
    return table([*heads, *(SCORES[name][0] for name in names), "run"], lines)


def _interval(row: Row, name: str) -> str:
    mean, low, high = row[f"{name}_db"], row[f"{name}_low"], row[f"{name}_high"]
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _cell(row: Row, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f}" if row.get(name) is not None else ""


def margins(rows: Sequence[Row]) -> str:
    """How far each size is above the best single filter and the best chain."""
    ours = [row for row in rows if row["family"] == "ours"]
    lines = []
    for family, name in (("filter", "single filter"), ("chain", "chain")):
        found = [row for row in rows if row["family"] == family]
        if found:
            best = max(found, key=lambda row: float(row["psnr_db"]))
            above = [f"`{r['method']}` {r['psnr_db'] - best['psnr_db']:+.2f} dB" for r in ours]
            lines += [
                f"The best {name} is {best['method']}.",
                f"PSNR above it: {', '.join(above)}.",
            ]
    return "\n".join(lines)


def by_clip(groups: Iterable[Sequence[Row]]) -> list[str]:
    """A table of the clips one by one, where the newest rows have them."""
    columns: list[tuple[str, Row, str]] = []
    for rows in groups:
        for row in rows:
            key = next((k for k in ("gain_by_clip", "psnr_by_clip") if k in row), None)
            if key:
                columns.append((f"{row['damage']}, {row['method']}", row[key], key))
    if not columns:
        return []
    named = [name + (", gain" if key == "gain_by_clip" else "") for name, _, key in columns]
    clips = list(dict.fromkeys(clip for _, values, _ in columns for clip in values))
    lines = [[clip, *(_cell(values, clip, 2) for _, values, _ in columns)] for clip in clips]
    note = "PSNR in dB, or its gain where the column says so."
    return ["### Clip by clip", note, table(["clip", *named], lines)]


def history(scores: Sequence[Row]) -> list[str]:
    """The model's PSNR on each damage, a row for each evaluation and size."""
    now = set(newest(scores))
    damages = [name for name in DAMAGES if name != "clean"]
    cells: dict[Line, dict[str, Row]] = {}
    for row in scores:
        if row["family"] == "ours":
            key: Line = (row["date"], row["commit"], row["method"], row["weights"])
            mine = cells.setdefault(key, {})
            if row["damage"] not in mine or row.get("max_side") is None:
                mine[row["damage"]] = row
    lines = []
    for key, mine in reversed(cells.items()):
        texts = {name: f"{row['psnr_db']:.2f}" for name, row in mine.items()}
        shown = {n: text if setting(mine[n]) in now else f"*{text}*" for n, text in texts.items()}
        lines.append([*key, *(shown.get(name, "") for name in damages)])
    note = "PSNR in dB, newest first. Italics: more or fewer frames, or another size, than above."
    apart = "Compare a number in italics with other numbers in italics only."
    heads = ["date", "commit", "method", "weights", *(f"{name} dB" for name in damages)]
    return [f"{note}\n{apart}", table(heads, lines)]


def bench(rows: Sequence[Row]) -> list[str]:
    """The measures of `make bench`, a column for each run, newest first."""
    runs = list(dict.fromkeys((row["date"], row["commit"]) for row in reversed(rows)))
    found = {(row["date"], row["commit"], row["measure"]): row for row in rows}
    lines = []
    for measure in dict.fromkeys(row["measure"] for row in rows):
        mine = [found.get((*run, measure)) for run in runs]
        one = next(row for row in mine if row)
        digits = ".2f" if one["unit"] == "ratio" else "g"
        values = [format(row["value"], digits) if row else "" for row in mine]
        lines.append([measure, one["unit"], one.get("aim") or "", *values])
    heads = ["measure", "unit", "aim", *(f"{date}, {commit}" for date, commit in runs)]
    where: dict[Line, None] = dict.fromkeys(
        (r["date"], r["commit"], r.get("model") or "", r["machine"]) for r in reversed(rows)
    )
    note = "A ratio above 1 is noise: the bare model is timed before and after the pipeline."
    machines = table(["date", "commit", "model", "machine"], [list(one) for one in where])
    return [note, table(heads, lines), machines]


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are to the right."""
    rows = [list(line) for line in lines]
    columns = zip(*rows, strict=True)
    marks = ["--:" if all(map(NUMBER.match, column)) else "---" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(heads), marks, *rows])


app = typer.Typer(cls=Commands, help="Take new results into docs/.", no_args_is_help=True)
Commit = Annotated[str, typer.Option(help="Commit that was run.")]
Machine = Annotated[str, typer.Option(help="CPU or GPU, cores, and what else was running.")]
Day = Annotated[str, typer.Option(help="Day of the run, YYYY-MM-DD; today unless given.")]


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="What `archive-restore evaluate --out` wrote.")],
    commit: Commit,
    machine: Machine,
    date: Day = "",
    weights: Annotated[str, typer.Option(help="Digest, if other weights than the shipped.")] = "",
) -> None:
    """Add the scores of an evaluation, then write the page with `python -m jobs.pages.docs`."""
    rows = results_data.add(folder, commit, machine, date=date or _today(), weights=weights)
    output.say(f"added {len(rows)} rows: now run `python -m jobs.pages.docs`")


@app.command()
def add_bench(
    file: Annotated[Path, typer.Argument(help="What `make bench` printed.")],
    commit: Commit,
    machine: Machine,
    date: Day = "",
) -> None:
    """Add the measures of a bench, then write the page with `python -m jobs.pages.docs`."""
    text = file.read_text(encoding="utf-8")
    rows = results_data.add_bench(text, commit, machine, date=date or _today())
    output.say(f"added {len(rows)} rows: now run `python -m jobs.pages.docs`")


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    app()
