"""The whole flow, top to bottom. In: a manifest. Out: one result for every clip.

Rows carry facts and addresses, never pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, cast

import ray.data
from ray.data import ActorPoolStrategy

from models.network.need import predicted
from pipeline import ray_runtime
from pipeline.clip.tasks import Item
from pipeline.media.sandbox import require_walls
from pipeline.ray_watch import Watch
from pipeline.runs import lease
from pipeline.runs.closing import Devices, RunSummary
from pipeline.runs.events import Event
from pipeline.runs.row import ClipOnRows, OnRows, Row, from_row, to_row
from pipeline.runs.run import Run, aborted
from pipeline.runs.settings import Settings
from pipeline.runs.stop import Stop
from pipeline.sources.formats import ManifestFault
from pipeline.sources.manifest import read_manifest
from pipeline.store.retry import NIGHTLY, RetryPolicy, with_retries
from pipeline.undo.publishing import finish
from schemas.errors import ClipFault
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook

# Actors reserve no CPU. If they reserved every CPU, surveys, assemblies and Ray Data's own tasks
# (repartition takes a whole CPU) would wait forever. An actor runs one thread. The pool has one
# actor for each CPU, or for each GPU.
TASK_CPUS = 0.25
# An actor reserves the memory that a frame of this size needs: what is in the manifest is not known
# yet. For a larger frame it may take all of its share of the node (`RayNodes.room`).
USUAL_FRAME = 720, 576


class Executor(Protocol):
    """Takes the clips of a run through the stages."""

    def started(self) -> AbstractContextManager[Devices]:
        """Start the executor for the time of the block. Yields the devices it restores on."""

    def items(self, work: Run) -> Iterator[Item]:
        """Yield the values of the last stage as they come: shards, and clips ended or left."""


def run(
    manifest: str,
    out: str,
    recipe: Recipe | RecipeBook,
    *,
    executor: Executor | None = None,
    stop: Stop | None = None,
    max_review: int | None = None,
    retry: RetryPolicy = NIGHTLY,
    progress: Callable[[Event], None],
) -> RunSummary:
    """Restore every clip of a manifest into ``out`` and return the summary.

    An interrupted run is resumed. The default executor is an embedded Ray. After a ``stop`` no new
    work starts, work in progress ends, and the summary counts the clips that are left. If more
    clips need review than `max_review`, the summary has the exit code REVIEW.

    Raises before any work: ManifestInvalid if the manifest has faults or ``out`` is a place of
    originals, Locked if another process writes to ``out``. Raises ArchiveError before any clip is
    read if this machine lacks a wall that `ARCHIVE_RESTORE_WALLS` asks for.
    """
    stop, executor = stop or Stop(), executor or RayExecutor()
    lease.refuse_if_held(out)  # fail early; taking the lease decides
    warnings: list[ManifestFault] = []
    clips = read_manifest(manifest, out, warnings.append)
    for warning in warnings:
        progress(Event(kind="warning", sentence=str(warning)))
    with _aborted_on_fault(), lease.held(out, "submit", on_loss=stop.cancel) as mine:
        with_retries(lambda: finish(out), retry)  # a revert that was interrupted
        work = Run.open(manifest, clips, out, recipe, progress, retry)
        with_retries(lambda: mine.renew(run=work.settings.ledger.run), retry)
        if work.todo:  # with nothing to do, no process is started
            if lacking := require_walls():
                progress(Event(kind="warning", sentence=lacking))
            with executor.started() as devices:
                work.devices = devices
                stop.begin(*devices)
                with stop.passed_on(work.settings.ledger, progress):
                    for item in executor.items(work):
                        work.take(item)
        with_retries(mine.check, retry)
        return {**work.close(max_review), "warnings": [warning._asdict() for warning in warnings]}


@contextmanager
def _aborted_on_fault() -> Iterator[None]:
    """If retries are exhausted, abort the run instead of blaming a clip."""
    try:
        yield
    except ClipFault as fault:
        raise aborted(str(fault)) from fault


class RayExecutor:
    """Runs the stages on Ray: on the cluster at ``address``, or on an embedded one on loopback."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self._watch = Watch({})

    @contextmanager
    def started(self) -> Iterator[Devices]:
        """Connect to Ray."""
        with ray_runtime.cluster(self.address) as self._watch:
            yield ray_runtime.devices()

    def items(self, work: Run) -> Iterator[Item]:
        """Yield the values of the last stage. Raises RayLost if the embedded Ray dies."""
        devices = ray_runtime.devices()
        for row in self._watch.rows(lambda: dataset(work, devices).iter_rows()):
            yield from_row(row)


def dataset(work: Run, devices: Devices) -> ray.data.Dataset:
    """In: clips. Out: shards and ended clips. No stage waits for the whole stage before it."""
    from pipeline.stages import AssembleStage, SurveyStage  # loads OpenCV: only with work to do

    # Ray takes a class too, which its annotation does not say
    actors = cast(Callable[[Row], Row], _RestoreActor)
    pool = ActorPoolStrategy(size=devices.shards, max_tasks_in_flight_per_actor=2)
    settings, nodes = work.settings, ray_runtime.RayNodes()
    gpus = nodes.gpu_share if devices.gpus else 0
    threads = None if devices.gpus else 1
    clips = [to_row(clip) for clip in work.todo]
    models = {settings.of(clip).recipe.model for clip in work.todo}
    memory = min(nodes.room(), max(predicted(model, *USUAL_FRAME) for model in models))
    return (
        ray.data.from_items(clips, override_num_blocks=len(clips))
        # fetch, fixity, probe, cuts -> one row for each shard
        .flat_map(ClipOnRows(SurveyStage(settings, nodes)), num_cpus=TASK_CPUS)
        .repartition(target_num_rows_per_block=1)  # the shards of one clip run in parallel
        # decode | restore | encode
        .map(actors, fn_constructor_args=[settings, threads], compute=pool,
             num_cpus=0, num_gpus=gpus, memory=memory)
        # the last shard of a clip joins, verifies, measures and publishes it
        .map(OnRows(AssembleStage(settings, nodes)), num_cpus=TASK_CPUS)
    )  # fmt: skip


class _RestoreActor:
    """The restore stage as a Ray actor. It keeps the loaded models."""

    def __init__(self, settings: Settings, threads: int | None) -> None:
        from models.restorer import limit_gpu  # PyTorch: not in the driver
        from pipeline.stages import Restorers, RestoreStage

        nodes = ray_runtime.RayNodes()
        limit_gpu(nodes.gpu_share)
        stage = RestoreStage(settings, nodes, Restorers(threads))
        self._on_rows = OnRows(stage)

    def __call__(self, row: Row) -> Row:
        return self._on_rows(row)
