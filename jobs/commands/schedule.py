"""The command schedule render."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cluster.nightly import (
    NightlyRun,
    Scheduler,
    check_name,
    clock_time,
    installed_program,
    write_files,
)
from jobs.console import output
from jobs.console.options import Json, Manifest, Out, RecipeName

app = typer.Typer(help="Write the files that start a run every night.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Write the files that start a run every night."""


@app.command()
def render(
    manifest: Manifest,
    out: Out,
    target: Annotated[Scheduler, typer.Option(help="Scheduler that starts the run.")],
    recipe: RecipeName = "film",
    name: Annotated[
        str, typer.Option(help="Name of the systemd units or Kubernetes objects.")
    ] = "archive-restore",
    at: Annotated[str, typer.Option(metavar="HH:MM", help="Time of the start.")] = "20:00",
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone, such as Europe/Berlin.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Container image, for Kubernetes.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of Ray workers, for KubeRay.")] = 2,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each worker, for KubeRay.")] = 0,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write the files to this folder.")
    ] = None,
    until: Annotated[
        str, typer.Option(metavar="HH:MM", help="Time after which no new work starts.")
    ] = "06:00",
    max_review: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Exit code 4 if more clips than this need review."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Render a nightly run for systemd, cron or Kubernetes.

    `kubernetes` runs in one pod. `raycronjob` and `rayjob` run on a Ray cluster that KubeRay makes
    for each night. Nothing is installed or started. A second run never joins a run that is still at
    work.

    \b
    Example:
        archive-restore schedule render s3://films/m.csv --out s3://films/restored --target systemd
    """
    from jobs.cluster.schedule import RENDERERS

    check_name(name)
    recipe = str(Path(recipe).resolve()) if Path(recipe).is_file() else recipe
    words = ["submit", manifest, "--out", out, "--recipe", recipe, "--until", until]
    clock_time("--until", until)
    words += [] if max_review is None else ["--max-review", str(max_review)]
    local = target in (Scheduler.SYSTEMD, Scheduler.CRON)
    program = installed_program() if local else NightlyRun.program
    run = NightlyRun(name, words, clock_time("--at", at), program, image, zone, workers, gpus)
    files = RENDERERS[target](run)
    if into is not None:
        write_files(files, into)
    if as_json:
        output.emit({"files": files, "exit_code": 0})
    else:
        output.say("\n".join(f"# {file}\n{text}" for file, text in files.items()).rstrip())
