"""The whole flow, top to bottom: a manifest in, one result for every clip out.

Rows carry facts and references, never pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import ray.data
from ray.data import ActorPoolStrategy

from pipeline import ray_runtime
from pipeline.clip.tasks import Item
from pipeline.runs import lease
from pipeline.runs.closing import Devices
from pipeline.runs.events import Event
from pipeline.runs.row import ClipOnRows, OnRows, Row, from_row, to_row
from pipeline.runs.run import Run
from pipeline.runs.settings import Settings
from pipeline.runs.stop import Stop
from pipeline.sources.formats import ManifestFault
from pipeline.sources.manifest import read_manifest
from pipeline.store.retry import NIGHTLY, RetryPolicy, with_retries
from schemas.errors import ArchiveError, ClipFault
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook

# Actors reserve no CPU, so that surveys and assemblies always find some: with every CPU reserved
# Ray Data's own tasks (repartition takes a whole one) wait for ever. An actor runs one thread; the
# pool has one actor a CPU, or a GPU.
TASK_CPUS = 0.25
ACTOR_MEMORY = 512 << 20  # bytes; Ray spreads over the nodes only what reserves something


class Executor(Protocol):
    """What takes the clips of a run through the stages."""

    def started(self) -> AbstractContextManager[Devices]:
        """The time in which it can work, and what it restores on."""

    def items(self, work: Run) -> Iterator[Item]:
        """What comes out of the last stage, as it comes: restored shards and ended clips."""


def run(
    manifest: str,
    out: str,
    recipe: Recipe | RecipeBook,
    *,
    executor: Executor | None = None,
    stop: Stop | None = None,
    retry: RetryPolicy = NIGHTLY,
    progress: Callable[[Event], None],
) -> Row:
    """Restore every clip of a manifest into ``out`` and return the summary.

    It resumes an interrupted run, on an embedded Ray unless another executor is given. After a
    ``stop`` no new work is begun: work in progress ends, and the summary counts the clips left.

    Raises before any work: ManifestInvalid when the manifest has faults or ``out`` is a place of
    originals, Locked when another process writes to it.
    """
    stop, executor = stop or Stop(), executor or RayExecutor()
    lease.refuse_if_held(out)  # at once, not after the reading; what counts is taking it
    warnings: list[ManifestFault] = []
    clips = read_manifest(manifest, out, warnings.append)
    for warning in warnings:
        progress(Event(kind="warning", sentence=str(warning)))
    with _aborted_on_fault(), lease.held(out, "submit", on_loss=stop.cancel) as mine:
        work = Run.open(manifest, clips, out, recipe, progress, retry)
        with_retries(lambda: mine.renew(run=work.settings.ledger.run), retry)
        if work.todo:  # a night with nothing to do starts no Ray
            with executor.started() as devices:
                work.devices = devices
                stop.begin(*devices)
                with stop.passed_on(work.settings.ledger, progress):
                    for item in executor.items(work):
                        work.take(item)
        with_retries(mine.check, retry)
        return work.close() | {"warnings": [warning._asdict() for warning in warnings]}


@contextmanager
def _aborted_on_fault() -> Iterator[None]:
    """If retries are exhausted, abort the run instead of blaming a clip."""
    try:
        yield
    except ClipFault as fault:
        sentence = f"the run broke off: {fault}; finished work is kept, run it again to go on"
        raise ArchiveError(sentence, exit_code=1) from fault


class RayExecutor:
    """The stages on Ray: on the cluster at ``address``, or on an embedded one on loopback."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    @contextmanager
    def started(self) -> Iterator[Devices]:
        """Ray, connected."""
        with ray_runtime.cluster(self.address):
            yield ray_runtime.devices()

    def items(self, work: Run) -> Iterator[Item]:
        """What comes out of the last stage."""
        for row in dataset(work, ray_runtime.devices()).iter_rows():
            yield from_row(row)


def dataset(work: Run, devices: Devices) -> ray.data.Dataset:
    """Clips in, ended clips and shards out; no stage waits for all of the one before."""
    from pipeline.stages import AssembleStage, SurveyStage  # OpenCV: only with work to do

    actors: Any = _RestoreActor  # a class here, which Ray's annotation does not foresee
    pool = ActorPoolStrategy(size=devices.workers, max_tasks_in_flight_per_actor=2)
    settings, gpus = work.settings, 1 if devices.gpus else 0
    clips = [to_row(clip) for clip in work.todo]
    return (
        ray.data.from_items(clips, override_num_blocks=len(clips))
        # fetch, fixity, probe, cuts -> one row a shard
        .flat_map(ClipOnRows(SurveyStage(settings)), num_cpus=TASK_CPUS)
        .repartition(target_num_rows_per_block=1)  # so that the shards of one clip run in parallel
        # decode | restore | encode
        .map(actors, fn_constructor_args=[settings, None if gpus else 1], compute=pool,
             num_cpus=0, num_gpus=gpus, memory=ACTOR_MEMORY)
        # the last shard of a clip joins, verifies, measures and publishes it
        .map(OnRows(AssembleStage(settings)), num_cpus=TASK_CPUS)
    )  # fmt: skip


class _RestoreActor:
    """The restore stage as a Ray actor, which keeps the loaded models."""

    def __init__(self, settings: Settings, threads: int | None) -> None:
        from pipeline.stages import Restorers, RestoreStage

        stage = RestoreStage(settings, ray_runtime.RayNodes(), Restorers(threads))
        self._on_rows = OnRows(stage)

    def __call__(self, row: Row) -> Row:
        return self._on_rows(row)
