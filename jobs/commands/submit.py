"""The command submit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jobs.commands.plan import plan
from jobs.console import output
from jobs.console.options import (
    CpuHours,
    GpuHours,
    Json,
    Manifest,
    MetricsFile,
    Out,
    Pushgateway,
    RecipeName,
    Recipes,
    Until,
    Webhook,
    deadline,
)
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from jobs.console.captured import Report
    from pipeline.runs.stop import Stop
    from schemas.recipe_book import RecipeBook


def submit(
    manifest: Manifest,
    out: Out,
    recipe: RecipeName = "film",
    recipes: Recipes = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Ray cluster: http://HOST:PORT of its dashboard.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Follow a cluster job to its end, or return at once."
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only plan, as `archive-restore plan` does.")
    ] = False,
    on_cluster: Annotated[bool, typer.Option("--on-cluster", hidden=True)] = False,
    until: Until = None,
    max_gpu_hours: GpuHours = None,
    max_cpu_hours: CpuHours = None,
    max_review: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Exit code 4 if the verdicts ask for a review of more clips; default: never.",
        ),
    ] = None,
    metrics_file: MetricsFile = None,
    pushgateway: Pushgateway = None,
    webhook: Webhook = None,
    as_json: Json = False,
) -> None:
    """Restore every clip of a manifest.

    Finished clips are skipped. Run the command again to continue after an interruption, or after
    you added clips. The run starts no new work at the time of --until, after --max-gpu-hours or
    --max-cpu-hours, and at SIGTERM; work that has begun is finished first.

    \b
    Example:
        archive-restore submit manifest.csv --out restored
    """
    from jobs.console.progress import progress
    from jobs.console.signals import sigterm_handled
    from jobs.monitor.exporter import exporting
    from jobs.monitor.webhook import check
    from pipeline.runs.stop import Stop
    from schemas.recipe_book import load_book

    if dry_run:
        plan(manifest, out, recipe, recipes, as_json=as_json)
        return
    if not wait and cluster is None:
        raise ArchiveError("--no-wait needs --cluster: a local run ends with this command")
    if not wait and (metrics_file or pushgateway):
        raise ArchiveError("metrics need a run that is followed to its end: leave out --no-wait")
    if webhook is not None:
        check(webhook)
    book, end = load_book(recipe, recipes), deadline(until)
    stop = Stop(end, max_gpu_hours=max_gpu_hours, max_cpu_hours=max_cpu_hours)
    with (
        progress(as_json) as shown,
        exporting(out, metrics_file, pushgateway, shown) as exporter,
        sigterm_handled(exporter, None if cluster else stop) as report,
    ):
        if cluster is None:
            result = _run_here(manifest, out, book, stop, report, max_review, on_cluster=on_cluster)
        else:
            from jobs.cluster.submit import submit_job

            result = submit_job(
                cluster, manifest, out, book,
                stop=stop, max_review=max_review, wait=wait, progress=report,
            )  # fmt: skip
        exporter.end(cast(int, result["exit_code"]))
        if webhook is not None and "run" in result:
            from jobs.monitor.summary import deliver

            deliver(webhook, out, result, report)
    output.emit(result) if as_json else output.say(output.describe_summary(result))
    raise typer.Exit(cast(int, result["exit_code"]))


def _run_here(
    manifest: str,
    out: str,
    book: RecipeBook,
    stop: Stop,
    report: Report,
    max_review: int | None,
    *,
    on_cluster: bool,
) -> dict[str, object]:
    """Run on an embedded Ray or, with ``on_cluster``, on the cluster of this machine."""
    from pipeline.flow import RayExecutor, run
    from pipeline.store.retry import RetryPolicy

    executor = RayExecutor("auto" if on_cluster else None)
    retry = RetryPolicy.of(os.environ)
    summary = run(
        manifest, out, book,
        executor=executor, stop=stop, max_review=max_review, retry=retry, progress=report,
    )  # fmt: skip
    return dict(summary)
