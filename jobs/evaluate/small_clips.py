"""`make bench-small`: the CPU-seconds by kind of work, objects and requests of a small clip.

The clips are drawn here: 8 frames of 64x48. They go through the stages in one process, one after
the other. At strength 0 the model does not run, so nearly all that is left is the program itself.
"""

from __future__ import annotations

import os
import re
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from jobs.evaluate.bench import machine, write_clips
from pipeline import local
from pipeline.local import LocalExecutor
from pipeline.media.launcher import ENDED, Job, Launcher
from pipeline.media.segments import SegmentWriter
from pipeline.restore import ShardRestorer
from pipeline.runs.run import Run
from pipeline.runs.usage import Usage
from pipeline.sources.manifest import read_manifest
from pipeline.store import s3_client, storage
from pipeline.store.address import is_s3, join
from schemas.recipe import Recipe

WIDTH, HEIGHT, FRAMES = 64, 48, 8
# Before a small clip had one record: commit 1e77466, by the same script. Then what is aimed at.
BEFORE = {
    "CPU-seconds a clip, all": "2.297",
    "child processes a clip": "8",
    "objects a clip": "13.2",
    "requests a clip": "48.2",
}
AIMS = {
    "CPU-seconds a clip, the rest": "0.4 or less",
    "objects a clip": "5, and the run's own",
    "requests a clip": "15 or less",
}
STAGES = ("SurveyStage", "RestoreStage", "AssembleStage")


class Meter:
    """CPU-seconds by stage and by kind of work, and processes, of all that this process does."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)  # by stage; `all`
        self.work: dict[str, float] = defaultdict(float)  # model, encode, children by module
        self.memory: list[float] = []  # MiB of this process, after each clip
        self.jobs = 0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the CPU-seconds of the block, with those of its child processes."""
        begun = Usage.now()
        try:
            yield
        finally:
            self.seconds[stage] += begun.spent().cpu

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measure the stages of the local executor, and count processes, while the block runs."""
        meter, modules = self, dict[Job, str]()

        def started(launcher: Launcher, module: str, request: bytes) -> Job:
            meter.jobs += 1
            job: Job = real[Launcher, "start"](launcher, module, request)
            modules[job] = module.rpartition(".")[2]
            return job

        def status(job: Job, seconds: float) -> int | None:
            before = ENDED.cpu_seconds
            code: int | None = real[Job, "_status"](job, seconds)
            if ENDED.cpu_seconds > before:
                meter.work[modules.pop(job, "")] += ENDED.cpu_seconds - before
            return code

        def model(*args: Any) -> Iterator[Any]:  # noqa: ANN401
            return meter._in_thread("model", real[ShardRestorer, "_planes"](*args))

        def encode(*args: Any) -> None:  # noqa: ANN401
            begun = time.thread_time()
            real[SegmentWriter, "write"](*args)
            meter.work["encode"] += time.thread_time() - begun

        changed: dict[tuple[Any, str], Callable[..., Any]] = {
            (Launcher, "start"): started,
            (Job, "_status"): status,
            (ShardRestorer, "_planes"): model,
            (SegmentWriter, "write"): encode,
        }
        changed |= {(local, name): self._measured(name, getattr(local, name)) for name in STAGES}
        real = {place: getattr(*place) for place in changed}
        for place, new in changed.items():
            setattr(*place, new)
        try:
            yield
        finally:
            for place, old in real.items():
                setattr(*place, old)

    def _in_thread(self, kind: str, items: Iterable[Any]) -> Iterator[Any]:
        """The items, and the CPU-seconds that their making takes in this thread."""
        begun = time.thread_time()
        for item in items:
            self.work[kind] += time.thread_time() - begun
            yield item
            begun = time.thread_time()

    def rows(self, clips: int) -> list[tuple[str, str]]:
        """What a clip has cost: names and figures."""
        stages = {name.removesuffix("Stage").lower(): self.seconds[name] for name in STAGES}
        stages["driver"] = self.seconds["all"] - sum(stages.values())
        work = {kind: self.work[kind] for kind in ("decode", "model", "encode")}
        work["the rest"] = self.seconds["all"] - sum(work.values())
        found = {f"CPU-seconds a clip, {name}": s for name, s in (work | stages).items()}
        found["CPU-seconds a clip, all"] = self.seconds["all"]
        found["of these in child processes"] = ENDED.cpu_seconds
        return [(name, f"{seconds / clips:.3f}") for name, seconds in found.items()]

    def _measured(self, name: str, real: type) -> type:
        """The class of a stage that measures each of its calls."""

        def call(stage: Any, item: object) -> Any:  # noqa: ANN401
            with self.timed(name):
                return real.__call__(stage, item)

        return type(name, (real,), {"__call__": call})


@contextmanager
def requests(store: str) -> Iterator[Counter[str]]:
    """Count the requests to the S3 store while the block runs, by operation."""
    found: Counter[str] = Counter()

    def count(event_name: str, **_: object) -> None:
        found[event_name.rpartition(".")[2]] += 1

    if not is_s3(store):
        yield found
        return
    events = s3_client.client().meta.events
    events.register("before-send.s3", count)
    try:
        yield found
    finally:
        events.unregister("before-send.s3", count)


def stored(store: str) -> Counter[str]:
    """The objects below the output, by kind: the path without what differs between clips."""
    out = join(store, "out")
    kinds: Counter[str] = Counter()
    for uri in storage.listing(out):
        parts = uri[len(out) :].strip("/").split("/")
        name = re.sub(r"clip\d+", "<clip>", "/".join(parts))
        name = re.sub(r"runs/[^/]+", "runs/<run>", name)
        name = re.sub(r"audit/\d+/\d+", "audit/<n>/<n>", name)
        name = re.sub(r"(run_date=[^/]+)/[^/]+", r"\1/<run>", name)
        kinds[name] += 1
    return kinds


def drawn_into(store: str, folder: Path, count: int) -> str:
    """Draw the clips, put them into the store, and return the address of their manifest."""
    manifest = write_clips(folder, count, FRAMES, WIDTH, HEIGHT)
    if not is_s3(store):
        return str(manifest)
    for path in folder.glob("clip*.mkv"):
        storage.upload(path, join(store, "in", path.name))
    manifest.write_text(manifest.read_text().replace(f"{folder}/", f"{join(store, 'in')}/"))
    return str(manifest)


def restored(manifest: str, store: str, strength: float) -> tuple[Meter, Counter[str], float]:
    """Take the clips through all stages. Returns the meter, requests, and peak memory in MiB."""
    process = psutil.Process()
    recipe = Recipe(strength=strength)
    executor, meter = LocalExecutor(), Meter()
    executor.restorers.of(recipe)  # loading the weights is not a cost of a clip
    with requests(store) as sent, meter.watching(), meter.timed("all"):
        out = join(store, "out")
        work = Run.open(manifest, read_manifest(manifest), out, recipe, lambda event: None)
        for item in executor.items(work):
            work.take(item)
            meter.memory.append(process.memory_info().rss / 2**20)
        summary = work.close()
    if summary["exit_code"]:
        raise SystemExit(f"the clips were not all restored: {summary['clips']}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return meter, sent, own


def main(
    clips: Annotated[int, typer.Option(help="Clips of 8 frames.")] = 200,
    strength: Annotated[float, typer.Option(help="0: without the model.")] = 0.0,
    store: Annotated[str, typer.Option(help="A new folder, or s3://BUCKET/PREFIX.")] = "",
) -> None:
    """Restore small clips and print what each has cost."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typer.echo(f"# archive-restore {version('archive-restore')}, {machine()}")
    with tempfile.TemporaryDirectory() as temp:
        store, folder = store or f"{temp}/store", Path(temp, "in")
        folder.mkdir()
        manifest = drawn_into(store, folder, clips)
        meter, sent, peak = restored(manifest, store, strength)
        found = stored(store)
    rows = meter.rows(clips)
    rows.append(("child processes a clip", f"{meter.jobs / clips:.1f}"))
    rows.append(("objects a clip", f"{found.total() / clips:.2f}"))
    rows += [(f"objects: {kind}", f"{n / clips:.2f}") for kind, n in found.most_common()]
    if is_s3(store):
        rows.append(("requests a clip", f"{sent.total() / clips:.1f}"))
        rows += [(f"requests: {kind}", f"{n / clips:.2f}") for kind, n in sent.most_common()]
    quarters = [meter.memory[clips * k // 4 - 1] for k in range(1, 5)]
    text = ", ".join(f"{mib:.0f}" for mib in quarters)
    rows.append(("memory after each quarter of the clips", f"{text} MiB"))
    rows.append(("peak memory", f"{peak:.0f} MiB"))
    title = f"{clips} clips of {FRAMES} frames, strength {strength:g}"
    typer.echo(f"| {title} | Now | Before | Aim |\n|---|---:|---:|---|")
    for name, value in rows:
        if not re.match(r"(objects|requests): ", name) or float(value) >= 0.02:
            typer.echo(f"| {name} | {value} | {BEFORE.get(name, '')} | {AIMS.get(name, '')} |")


if __name__ == "__main__":
    typer.run(main)
