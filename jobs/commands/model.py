"""The commands about the model itself: evaluate, train, tune, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from jobs.console import output
from jobs.console.options import ClipsAtOnce, Damage, Frames, Json, MaxSide, RecipeName
from schemas.errors import ArchiveError

DEFAULT_DAMAGE = ("film",)


def evaluate(
    data: Annotated[
        list[Path] | None, typer.Argument(help="Clean clips, or folders of clean clips.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for scores, table and pictures.")
    ] = Path("evaluation"),
    real: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Score labelled places of real films instead; the films are in FOLDER.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labels for --real; default: the shipped labels."),
    ] = None,
    damage: Damage = None,
    seed: Annotated[int, typer.Option(help="Seed of the random damage.")] = 0,
    method: Annotated[
        list[str] | None, typer.Option(help="Method to score; repeatable; default all.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights file; default: the shipped weights.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Size of the model; repeatable; default base.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of sampling steps of the model.")] = 1,
    frames: Frames = 24,
    max_side: MaxSide = None,
    jobs: ClipsAtOnce = 1,
    as_json: Json = False,
) -> None:
    """Score the model on aged clean clips.

    The damage simulator ages clean clips, and each method restores them. The scores compare the
    results with the clean clips. Tuned classical filters are scored beside the model.

    With --real, the model restores real damaged films. The result is the share of labelled defects
    that are repaired, and the share of labelled real things that are harmed. Of the other options,
    --out, --weights, --size, --steps, --jobs and --json apply.

    \b
    Example:
        archive-restore evaluate valid --frames 24
    """
    if (real is None) == (not data):
        raise ArchiveError("give clean clips, or real films with --real FOLDER")
    if real is not None:
        return _evaluate_real(real, out, labels, size, steps, weights, jobs, as_json)
    from jobs.evaluate.evaluate import evaluate_command

    with output.quiet_stdout(as_json):
        result = evaluate_command(
            data or [],
            tuple(damage or DEFAULT_DAMAGE),
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
    return output.emit(result) if as_json else output.say(str(result["markdown"]))


def _evaluate_real(
    films: Path,
    out: Path,
    labels: Path | None,
    sizes: list[str] | None,
    steps: int,
    weights: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    from jobs.evaluate.real.benchmark import real_command

    with output.quiet_stdout(as_json):
        result = real_command(
            films,
            out,
            sizes or ("base",),
            labels=labels,
            steps=steps,
            weights=weights,
            jobs=jobs,
        )
    output.emit(result) if as_json else output.say(str(result["markdown"]))


def train(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG",
            help="TOML file of the training; several train side by side on the same batches.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for weights, log, curves and work files.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder with video/ and photo/ subfolders of clean footage."
        ),
    ],
    valid: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of clean clips for validation.")
    ] = None,
    start: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Weights to start from; repeat it to give each CONFIG its own.",
            exists=True,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Number of training steps; default: as in CONFIG.", min=1),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Train for this time instead, last validation included; the banks come before it.",
            min=1,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that prepare the training data.", min=0)
    ] = 2,
    as_json: Json = False,
) -> None:
    """Train the model on aged clean footage.

    Run the command again with the same folder to continue an interrupted training; with --seconds
    it has what is left of its time. At the end, curves.svg in that folder shows the losses, and the
    PSNR on the clips of --valid, by step. Several CONFIGs each have a folder of their name in it.

    \b
    Example:
        archive-restore train models/recipes/base.toml --data footage/train --out training
    """
    from jobs.training.train import main as run

    if steps is not None and seconds is not None:
        raise ArchiveError("--steps and --seconds each set the length: leave out one of them")
    with output.quiet_stdout(as_json):
        result = run(
            configs,
            data,
            out,
            valid=valid,
            steps=steps,
            seconds=seconds,
            workers=workers,
            starts=start or (),
        )
    if as_json:
        output.emit(result)
    else:
        trained = cast("dict[str, dict[str, object]]", result["trained"])
        output.say(
            "\n".join(
                f"{kind}: {made[kind]}"
                for made in trained.values()
                for kind in ("weights", "curves")
                if made[kind]
            )
        )


def tune(
    data: Annotated[list[Path], typer.Argument(help="Clips, or folders of clips.")],
    out: Annotated[
        Path, typer.Option(metavar="RECIPE", help="Recipe file that the command writes.")
    ],
    damage: Damage = None,
    without_reference: Annotated[
        bool,
        typer.Option("--without-reference", help="The clips are damaged; no clean ones exist."),
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Model size to try; repeatable; default all.")
    ] = None,
    recipe: RecipeName = "film",
    folds: Annotated[int, typer.Option(help="Number of folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the random damage and folds.")] = 0,
    frames: Frames = 24,
    max_side: MaxSide = None,
    jobs: ClipsAtOnce = 1,
    as_json: Json = False,
) -> None:
    """Choose model, strength and deflicker for a recipe.

    The choice is cross-validated, and the command writes a recipe. All other settings come from
    --recipe. The damage simulator ages clean clips, and each candidate's result is compared with
    them. With --without-reference, each restored frame is compared with other frames of the same
    clip that the model did not see, moved along the motion.

    \b
    Example:
        archive-restore tune reels/ --without-reference --out recipes/newsreels.toml
    """
    from jobs.evaluate.samples import Options
    from jobs.evaluate.tune import tune_command
    from schemas.recipe import MODELS

    if damage and without_reference:
        raise ArchiveError("--damage is for clean clips: leave out one of the two options")
    with output.quiet_stdout(as_json):
        result = tune_command(
            data,
            out,
            presets=None if without_reference else tuple(damage or DEFAULT_DAMAGE),
            models=model or MODELS,
            recipe=recipe,
            options=Options(frames, seed, max_side),
            folds=folds,
            jobs=jobs,
        )
    output.emit(result) if as_json else output.say(f"{result['markdown']}\nrecipe: {out}")


def demo(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for all files.")] = "demo",
    as_json: Json = False,
) -> None:
    """Age two real clips, restore them and score them.

    Runs the whole pipeline on this machine and prints where the results are.

    \b
    Example:
        archive-restore demo --out demo
    """
    from jobs.console.progress import progress
    from jobs.demo import main as run

    with progress(as_json) as report:
        result = run(out, progress=report)
    output.emit(result) if as_json else output.say(str(result["text"]))
    raise typer.Exit(cast(int, result["exit_code"]))
