"""The command line. Imports little: whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jobs.cluster import schedule
from jobs.commands import audit, config, model, monitoring, package, plan, quarantine, triage
from jobs.commands.summary import deliver, summary
from jobs.console import output
from jobs.console.errors import Commands
from jobs.console.options import (
    CpuHours,
    GpuHours,
    Json,
    Manifest,
    MetricsFile,
    Out,
    Pushgateway,
    Recipes,
    Until,
    Webhook,
    deadline,
)
from pipeline.runs.events import Event
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from pipeline.runs.stop import Stop

SIGTERM_EXIT = 128 + signal.SIGTERM


app = typer.Typer(
    name="archive-restore",
    cls=Commands,
    help="Restores film and television archives with a video diffusion model on Ray Data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:
    if value:
        output.say(f"archive-restore {importlib.metadata.version('archive-restore')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Restores film and television archives with a video diffusion model on Ray Data."""


@app.command()
def submit(
    manifest: Manifest,
    out: Out,
    recipe: Annotated[str, typer.Option(help="A built-in recipe, or a TOML file.")] = "film",
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run on a Ray cluster: http://HOST:PORT of its dashboard."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow a cluster job to its end, or leave it.")
    ] = True,
    recipes: Recipes = None,
    until: Until = None,
    max_gpu_hours: GpuHours = None,
    max_cpu_hours: CpuHours = None,
    metrics_file: MetricsFile = None,
    pushgateway: Pushgateway = None,
    webhook: Webhook = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan: see `plan`.")] = False,
    on_cluster: Annotated[bool, typer.Option("--on-cluster", hidden=True)] = False,
    as_json: Json = False,
) -> None:
    """Restore every clip of a manifest.

    Finished clips are skipped: run it again to go on after a break, or when clips were added.
    At the time --until gives, when the hours of --max-gpu-hours or --max-cpu-hours are over, and at
    SIGTERM, nothing more is begun, and what is under way ends.

    \b
    Example:
        archive-restore submit manifest.csv --out restored
    """
    from jobs.monitor.exporter import watched
    from jobs.monitor.webhook import check
    from pipeline.runs.stop import Stop
    from schemas.recipe_book import load_book

    if dry_run:
        plan.plan(manifest, out, recipe, recipes, as_json=as_json)
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
        output.progress(as_json) as say,
        watched(out, metrics_file, pushgateway, say) as watch,
        _terminated(watch, None if cluster else stop) as report,
    ):
        if cluster is not None:
            from jobs.cluster.submit import submit_job

            result = submit_job(cluster, manifest, out, book, stop=stop, wait=wait, progress=report)
        else:
            from pipeline.flow import RayExecutor, run
            from pipeline.store.retry import RetryPolicy

            executor = RayExecutor("auto" if on_cluster else None)
            retry = RetryPolicy.of(os.environ)
            result = run(
                manifest, out, book, executor=executor, stop=stop, retry=retry, progress=report
            )
        watch.end(cast(int, result["exit_code"]))
        if webhook is not None and "run" in result:
            deliver(webhook, out, result, report)
    output.emit(result) if as_json else output.say(output.describe_summary(result))
    raise typer.Exit(cast(int, result["exit_code"]))


@contextlib.contextmanager
def _terminated(report: output.Report, stop: Stop | None) -> Iterator[output.Report]:
    """The first SIGTERM stops a run that has begun in order; any other ends the command with 143,
    as a shell expects, after its clean-up.

    Connecting, Ray takes the signal for itself, and its native handler aborts the process; it is
    taken back when the run says that it has begun.
    """
    begun = False

    def terminate(number: int, frame: FrameType | None) -> None:
        if stop is None or stop.cancelled or not begun:
            raise SystemExit(SIGTERM_EXIT)
        stop.cancel()

    def watch(event: Event) -> None:
        nonlocal begun
        if event.kind == "run":
            begun = True
            signal.signal(signal.SIGTERM, terminate)
        report(event)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield watch
    except SystemExit as error:  # Ray's Python handler leaves with the bare number of the signal
        if error.code not in (signal.SIGTERM, SIGTERM_EXIT):
            raise
        output.log("archive-restore: terminated; finished work is kept, run it again to go on")
        raise typer.Exit(SIGTERM_EXIT) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command()
def validate(
    manifest: Manifest,
    out: Annotated[
        str | None, typer.Option(metavar="URI", help="Also check that no original lies there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a manifest and name every fault.

    All faults are listed at once, each with its row and column; nothing is started.

    \b
    Example:
        archive-restore validate manifest.csv
    """
    from pipeline.sources.manifest import read_manifest

    rows = read_manifest(manifest, out)
    result = {"manifest": manifest, "rows": len(rows), "faults": [], "exit_code": 0}
    output.emit(result) if as_json else output.say(f"{manifest}: {len(rows)} clips, no faults")


@app.command()
def status(
    out: Out,
    run: Annotated[str | None, typer.Argument(help="Default: the latest.")] = None,
    as_json: Json = False,
) -> None:
    """Show how far a run is.

    Counts clips by state, and for each clip at work the shards and frames done.

    \b
    Example:
        archive-restore status --out restored
    """
    from jobs.commands.status import describe_status, read_status

    state = read_status(out, run)
    output.emit(state) if as_json else output.say(describe_status(state))


@app.command()
def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT.")] = None,
    out: Out = ".",
    view: Annotated[str | None, typer.Option(help="A view shipped with the program.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV that is safe to open.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the tables of an output folder in SQL.

    DuckDB reads `runs`, `clips`, `shots` and `frames`; nothing can be written. In --csv an
    apostrophe stands before what a spreadsheet would take for a formula.

    \b
    Example:
        archive-restore query "SELECT clip_id, state FROM clips" --out restored
    """
    from jobs.console.query import VIEWS
    from jobs.console.query import query as ask

    if view is not None and view not in VIEWS:
        raise ArchiveError(f"no view {view!r}; there are: {', '.join(VIEWS)}")
    text = sql if view is None else f"SELECT * FROM {view}"
    if text is None or (sql and view):
        raise ArchiveError("give one SELECT or --view; views: " + ", ".join(VIEWS))
    rows = ask(out, text).to_pylist()
    show = output.csv_lines if as_csv else output.table
    output.emit(rows) if as_json else output.say(show(rows))


@app.command()
def report(out: Out, as_json: Json = False) -> None:
    """Write the report: static pages, before and after.

    They need no server and no network, and open from a disk or a bucket.

    \b
    Example:
        archive-restore report --out restored
    """
    from jobs.report.write import write_report

    index = write_report(out)
    output.emit({"report": index}) if as_json else output.say(f"report: {index}")


@app.command()
def doctor(
    out: Annotated[
        str | None, typer.Option(metavar="URI", help="Also test this place's storage.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and a place for output.

    Versions, licences, processor, accelerator, disk, weights, and how the storage behaves.

    \b
    Example:
        archive-restore doctor --out s3://bucket/restored
    """
    from jobs.commands.doctor import describe_checks, examine

    checks = examine(out)
    failed = any(check.verdict == "fail" for check in checks)
    if as_json:
        output.emit({"checks": [c.to_dict() for c in checks], "exit_code": int(failed)})
    else:
        output.say(describe_checks(checks))
    raise typer.Exit(int(failed))


for command in (
    plan.plan,
    triage.triage,
    summary,
    package.package,
    package.verify,
    package.policy,
    model.evaluate,
    model.train,
    model.tune,
    model.demo,
):
    app.command()(command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(audit.app, name="audit")
app.add_typer(schedule.app, name="schedule")
app.add_typer(monitoring.app, name="monitoring")
app.add_typer(config.app, name="config")
