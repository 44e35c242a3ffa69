"""`make train-gpu`: build banks, train, validate, and say how fast it was, in one call of minutes.

It needs PyTorch, NumPy, OpenCV, safetensors and PyAV only: a bare machine with a GPU has no more.
Without a GPU it trains less, on the CPU. A second call with the same folders goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import models
from jobs.training.dataset import BankLayout
from jobs.training.train import (
    VALIDATION,
    VALIDATION_PRESETS,
    prepared_bank,
    results,
    settings,
    started,
)
from models.network.checkpoint import device_default, shipped
from models.network.timing import Device
from models.training.loader import LoaderError
from models.training.train import Trainer
from schemas.errors import ArchiveError

RECIPES = Path(models.__file__).parent / "recipes"
SECONDS = 500.0  # of a call, by default
LEAVING = 5.0  # seconds for the start and the end of the program
LAYOUT = BankLayout()
PSNR = "psnr_"  # begins the names of the scores in a log
FIGURES = {  # heads of the table: values of the report
    "steps": "steps_here", "steps/s": "steps_per_second", "samples/s": "samples_per_second",
    "last step, ms": "step_ms", "waited, s": "waited_seconds", "share": "waited_share",
    "bank, s": "bank_seconds", "in all, s": "seconds",
}  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    sequences: int  # of the training bank
    validation: int  # sequences of each preset
    settings: dict[str, object]  # that override the configurations'
    layout: BankLayout = LAYOUT
    validation_layout: BankLayout = VALIDATION
    shipped: bool = True  # whether the shipped weights are the start
    steps: int | None = None  # instead of the time


GPU = Scale(1600, 8, {"batch": 96, "log_every": 20})
CPU = Scale(64, 2, {"batch": 4, "log_every": 5})
TINY = Scale(
    2,
    1,
    {"size": "micro", "batch": 2, "crop": 32, "log_every": 1},
    BankLayout(frames=9, size=64),
    replace(VALIDATION, frames=5, size=64),
    shipped=False,
    steps=2,
)


def train(given: argparse.Namespace, scale: Scale) -> dict[str, Any]:
    """Banks, training and validation; all that is measured, as JSON values. Raises ArchiveError."""
    began, workers = time.monotonic(), max(given.workers, 1)
    overrides = scale.settings | ({"batch": given.batch} if given.batch else {})
    overrides |= {"steps": scale.steps} if scale.steps else {}
    chosen = settings(given.config or [RECIPES / "base.toml", RECIPES / "fast.toml"], **overrides)
    shares = next(iter(chosen.values())).banks
    count = (given.sequences or scale.sequences) / sum(shares.values())
    presets = {name: max(round(count * share), 1) for name, share in shares.items()}
    banks, validation = given.bank or given.out / "bank", scale.validation
    try:
        bank = prepared_bank(given.data, banks / "train", presets, scale.layout, workers)
        valid = prepared_bank(
            given.valid,
            banks / "valid",
            dict.fromkeys(VALIDATION_PRESETS, validation),
            scale.validation_layout,
            workers,
        )
        banked = time.monotonic() - began
        starts = given.start or []
        if scale.shipped and not starts and not given.from_nothing:
            starts = [shipped(config.size) for config in chosen.values()]
        trainer = Trainer(
            chosen,
            [bank],
            given.out,
            starts=started(chosen, starts),
            workers=given.workers,
            seconds=None if scale.steps else max(given.seconds - banked - LEAVING, 1.0),
            device=given.device,
            graph=not given.no_graph,
        )
        trainer.run(valid=valid)
    except (ValueError, TypeError, LoaderError) as error:
        raise ArchiveError(str(error)) from error
    return report(trainer, sum(presets.values()), banked) | {
        "seconds": round(time.monotonic() - began, 1)
    }


def report(trainer: Trainer, sequences: int, banked: float) -> dict[str, Any]:
    """What the training measured of itself and of its networks."""
    made = results(trainer)
    trained = cast("dict[str, dict[str, Any]]", made["trained"])
    seconds, waited = trainer.step_seconds, trainer.waited
    for name, folder in trainer.folders.items():
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses = [row for row in rows if "total" in row]
        scores = [
            {key: value for key, value in row.items() if key.startswith(PSNR)}
            for row in rows
            if any(key.startswith(PSNR) for key in row)
        ]
        trained[name] |= {
            "size": trainer.learners[name].config.size,
            "loss": losses[-1]["total"] if losses else None,
            "skipped": losses[-1]["skipped"] if losses else None,
            "before": scores[0],
            "after": scores[-1],
        }
    return made | {
        "device": asdict(Device.of(trainer.device)),
        "cores": os.cpu_count(),
        "workers": trainer.workers,
        "batch": trainer.config.batch,
        "sequences": sequences,
        "bank_seconds": round(banked, 1),
        "steps_here": trainer.steps_here,
        "steps_per_second": round(trainer.steps_here / max(seconds, 1e-9), 3),
        "samples_per_second": round(trainer.samples / max(seconds, 1e-9), 2),
        "waited_seconds": round(waited, 1),
        "waited_share": round(waited / max(seconds, 1e-9), 3),
        "step_ms": round(trainer.timer.milliseconds(), 1),
    }


def table(made: dict[str, Any]) -> str:
    """The report as Markdown."""
    device = made["device"]
    lines = [
        f"{device['name']}, PyTorch {device['pytorch']}, {made['cores']} cores, "
        f"{made['workers']} loader processes",
        "",
    ]
    if device["kind"] == "cpu":
        lines += ["No GPU was used: these are figures of a CPU.", ""]
    lines += ["| " + " | ".join(FIGURES) + " |", "|" + "--:|" * len(FIGURES)]
    lines.append("| " + " | ".join(str(made[name]) for name in FIGURES.values()) + " |")
    scores = list(next(iter(made["trained"].values()))["after"])
    heads = [name.removeprefix(PSNR) + ", dB" for name in scores]
    lines += ["", f"| network | | loss | {' | '.join(heads)} |"]
    lines.append("|---|---|--:|" + "--:|" * len(scores))
    for name, one in made["trained"].items():
        for when in ("before", "after"):
            loss = one["loss"] if when == "after" else "-"
            values = " | ".join(str(one[when].get(score, "-")) for score in scores)
            lines.append(f"| {name} | {when} | {loss} | {values} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Train, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="train-gpu", description=__doc__.splitlines()[0])
    path, cores = Path, os.cpu_count() or 1
    parser.add_argument("--data", type=path, required=True, help="footage: video/ and photo/")
    parser.add_argument("--valid", type=path, required=True, help="clips to validate on")
    parser.add_argument("--out", type=path, default=Path("train-gpu"), help="folder of the results")
    parser.add_argument("--bank", type=path, help="folder of the banks; default: in --out")
    parser.add_argument(
        "--config", type=path, action="append", help="repeatable; default: base and fast"
    )
    parser.add_argument(
        "--start", type=path, action="append", help="weights; default: the shipped ones"
    )
    parser.add_argument("--from-nothing", action="store_true", help="start with random weights")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole call")
    parser.add_argument("--sequences", type=int, help="of the bank; default: 1600, 64 on a CPU")
    parser.add_argument("--batch", type=int, help="samples of a step; default: 96, 4 on a CPU")
    parser.add_argument("--workers", type=int, default=max(cores - 1, 1), help="loader processes")
    parser.add_argument("--device", help="a device of PyTorch; by default the GPU, if there is one")
    parser.add_argument("--no-graph", action="store_true", help="no CUDA graph, if one fails")
    parser.add_argument("--tiny", action="store_true", help="two steps, to see that it runs")
    given = parser.parse_args(arguments)
    on_cpu = str(given.device or device_default()).startswith("cpu")
    try:
        made = train(given, TINY if given.tiny else CPU if on_cpu else GPU)
    except ArchiveError as error:
        sys.stderr.write(f"train-gpu: {error}\n")
        return error.exit_code
    (given.out / "train-gpu.json").write_text(json.dumps(made, indent=1) + "\n")
    sys.stdout.write(table(made) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
