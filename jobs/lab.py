"""The commands about the model itself: evaluate, train, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from jobs import output
from jobs.options import Json


def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Clean clips, or folders of clips.")],
    damage: Annotated[list[str] | None, typer.Option(help="Simulator preset; repeatable.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the damage.")] = 0,
    method: Annotated[list[str] | None, typer.Option(help="One method only; repeatable.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Other weights than the shipped.")] = None,
    size: Annotated[str, typer.Option(help="Size of the model.")] = "fast",
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 1,
    max_side: Annotated[
        int | None, typer.Option(help="Longest side of a picture; larger ones are downscaled.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Clips at once.")] = 1,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Scores.")] = Path("evaluation"),
    as_json: Json = False,
) -> None:
    """Score the model on aged clean clips.

    Clean clips are aged by the simulator and restored; both are scored against the truth,
    next to tuned classical filters.

    \b
    Example:
        archive-restore evaluate valid --frames 24
    """
    from jobs.evaluate import evaluate_command

    with output.quiet_stdout(as_json):
        result = evaluate_command(
            data,
            tuple(damage or ("film",)),
            frames,
            seed,
            out,
            method,
            jobs,
            size=size,
            steps=steps,
            weights=weights,
            max_side=max_side,
        )
    output.emit(result) if as_json else output.say(str(result["markdown"]))


def train(
    config: Annotated[Path, typer.Argument(help="TOML file of the training run.")],
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Clean video/ and photo/.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Weights, log, and work.")],
    valid: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Clean clips to validate on.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Other than the configuration's.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that prepare.")] = 2,
    start: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS", help="Weights to go on from.", exists=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the model on aged clean footage.

    Goes on where it stopped when it is run again with the same folder.

    \b
    Example:
        archive-restore train models/recipes/fast.toml --data footage/train --out training
    """
    from jobs.train import main as run

    with output.quiet_stdout(as_json):
        result = run(
            config, data, out, valid=valid, steps=steps, workers=workers, start=start
        )  # fmt: skip
    output.emit(result) if as_json else output.say(f"weights: {result['weights']}")


def demo(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where everything goes.")] = "demo",
    as_json: Json = False,
) -> None:
    """Age a real clip, restore it and score it.

    Runs the whole pipeline on this machine and prints where the results are.

    \b
    Example:
        archive-restore demo --out demo
    """
    from jobs.demo import main as run

    with output.progress(as_json) as report:
        result = run(out, progress=report)
    output.emit(result) if as_json else output.say(str(result["text"]))
    raise typer.Exit(cast(int, result["exit_code"]))
