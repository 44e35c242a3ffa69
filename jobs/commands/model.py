"""The commands about the model itself: evaluate, train, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from jobs.console import output
from jobs.console.options import Json
from schemas.errors import ArchiveError


def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Clean clips, or folders of clips.")],
    damage: Annotated[list[str] | None, typer.Option(help="Simulator preset; repeatable.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the damage.")] = 0,
    method: Annotated[list[str] | None, typer.Option(help="One method only; repeatable.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Other weights than the shipped.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Size of the model; repeatable; default base.")
    ] = None,
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
    from jobs.evaluate.evaluate import evaluate_command

    with output.quiet_stdout(as_json):
        result = evaluate_command(
            data,
            tuple(damage or ("film",)),
            frames,
            seed,
            out,
            method,
            jobs,
            sizes=size or ("base",),
            steps=steps,
            weights=weights,
            max_side=max_side,
        )
    output.emit(result) if as_json else output.say(str(result["markdown"]))


def train(
    config: Annotated[Path, typer.Argument(help="TOML file of the training run.")],
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Clean video/ and photo/.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Weights, log, curves, and work.")],
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

    Goes on where it stopped when it is run again with the same folder. At the end, curves.svg in
    that folder shows the losses and the PSNR on the clips of --valid over the steps.

    \b
    Example:
        archive-restore train models/recipes/base.toml --data footage/train --out training
    """
    from jobs.training.train import main as run

    with output.quiet_stdout(as_json):
        result = run(
            config, data, out, valid=valid, steps=steps, workers=workers, start=start
        )  # fmt: skip
    if as_json:
        output.emit(result)
    else:
        told = {name: result[name] for name in ("weights", "curves") if result[name]}
        output.say("\n".join(f"{name}: {path}" for name, path in told.items()))


def tune(
    data: Annotated[list[Path], typer.Argument(help="Clips, or folders of clips.")],
    out: Annotated[Path, typer.Option(metavar="RECIPE", help="The recipe that is written.")],
    damage: Annotated[
        list[str] | None, typer.Option(help="Simulator preset for clean clips; repeatable.")
    ] = None,
    without_reference: Annotated[
        bool, typer.Option("--without-reference", help="The clips are damaged: no truth is known.")
    ] = False,
    model: Annotated[list[str] | None, typer.Option(help="One size only; repeatable.")] = None,
    recipe: Annotated[str, typer.Option(help="What all else is taken from.")] = "film",
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 24,
    max_side: Annotated[
        int | None, typer.Option(help="Longest side of a picture; larger ones are downscaled.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of damage and folds.")] = 0,
    jobs: Annotated[int, typer.Option(help="Clips at once.")] = 1,
    as_json: Json = False,
) -> None:
    """Choose a model and a strength by cross-validation.

    De-flickering is chosen too, and a recipe written. Clean clips are aged by the simulator and
    every candidate is scored against the truth. Clips of the archive itself, --without-reference,
    are scored by their own frames that the model did not see, carried along the motion.

    \b
    Example:
        archive-restore tune reels/ --without-reference --out recipes/newsreels.toml
    """
    from jobs.evaluate.evaluate import Options
    from jobs.evaluate.tune import tune_command
    from schemas.recipe import MODELS

    if damage and without_reference:
        raise ArchiveError("--damage is for clean clips: leave out one of the two options")
    with output.quiet_stdout(as_json):
        result = tune_command(
            data,
            out,
            presets=None if without_reference else tuple(damage or ("film",)),
            models=model or MODELS,
            recipe=recipe,
            options=Options(frames, seed, max_side),
            folds=folds,
            jobs=jobs,
        )
    output.emit(result) if as_json else output.say(f"{result['markdown']}\nrecipe: {out}")


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
