"""The whole flow on Ray, top to bottom.

Rows carry facts and references, never pixels; every clip ends as exactly one row.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import ray
import ray.data
from ray._private import ray_constants
from ray.data import ActorPoolStrategy, DataContext

from pipeline.runs import lease
from pipeline.runs.events import Event
from pipeline.runs.ledger import WorkerId
from pipeline.runs.run import Run
from pipeline.runs.stop import Stop
from pipeline.sources.manifest import read_manifest
from pipeline.store import retry
from schemas.errors import ArchiveError, ClipFault
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook

# Actors reserve no CPU, so that surveys and assemblies always find some: with every CPU reserved
# Ray Data's own tasks (repartition takes a whole one) wait for ever. An actor runs one thread; the
# pool has one actor a CPU, or a GPU.
TASK_CPUS = 0.25
ACTOR_MEMORY = 512 << 20  # bytes; Ray spreads over the nodes only what reserves something
WAIT_FOR_ACTORS_SECONDS = 600


def run(
    manifest: str,
    out: str,
    recipe: Recipe | RecipeBook,
    *,
    address: str | None = None,
    stop: Stop | None = None,
    progress: Callable[[Event], None],
) -> dict[str, Any]:
    """Restore every clip of a manifest into ``out``; the summary. Resumes what was interrupted.

    After a ``stop`` nothing more is begun: what is under way ends, the summary says what is left.

    Raises before any work: ManifestInvalid when the manifest has faults or ``out`` is a place of
    originals, Locked when another process writes to it.
    """
    stop = stop or Stop()
    lease.refuse_if_held(out)  # at once, not after the reading; what counts is taking it
    rows = read_manifest(manifest, out)
    with retry.of_a_run(), _broken_off(), lease.held(out, "submit", on_loss=stop.cancel) as mine:
        work = Run.open(manifest, rows, out, recipe, progress)
        mine.renew(run=work.settings.ledger.run)
        if work.todo:  # a night with nothing to do starts no Ray
            with cluster(address):
                stop.begin(*devices())
                with stop.passed_on(work.settings.ledger, progress):
                    for row in flow(work).iter_rows():
                        work.take(row)
        mine.check()
        return work.close()


@contextmanager
def _broken_off() -> Iterator[None]:
    """Trouble that all patience could not outlast ends the run, whatever it was, not a clip."""
    try:
        yield
    except ClipFault as fault:
        sentence = f"the run broke off: {fault}; finished work is kept, run it again to go on"
        raise ArchiveError(sentence, exit_code=1) from fault


def flow(work: Run) -> ray.data.Dataset:
    """Rows of clips in, rows of clips and shards out; no stage waits for all of the one before."""
    from pipeline.stages import Assembly, Restoration, SurveyStage  # OpenCV: only with work to do

    gpus, cpus = devices()
    work.device, work.workers = "gpu" if gpus else "cpu", gpus or cpus
    actors: Any = Restoration  # a class here, which Ray's annotation does not foresee
    pool = ActorPoolStrategy(size=gpus or cpus, max_tasks_in_flight_per_actor=2)
    settings = work.settings
    return (
        ray.data.from_items(work.todo, override_num_blocks=len(work.todo))
        # fetch, fixity, probe, cuts -> one row a shard
        .flat_map(SurveyStage(settings), num_cpus=TASK_CPUS)
        .repartition(target_num_rows_per_block=1)  # so that the shards of one clip run in parallel
        # decode | restore | encode
        .map(actors, fn_constructor_args=[settings, Cluster(), None if gpus else 1], compute=pool,
             num_cpus=0, num_gpus=1 if gpus else 0, memory=ACTOR_MEMORY)
        # the last shard of a clip joins, verifies, measures and publishes it
        .map(Assembly(settings), num_cpus=TASK_CPUS)
    )  # fmt: skip


def devices() -> tuple[int, int]:
    """GPUs and CPUs of the cluster."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(found.get("GPU", 0)), int(found.get("CPU", 1))


class Cluster:
    """What a stage may ask about the cluster it runs on: all that a stage sees of Ray."""

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""
        return WorkerId(
            session=session, node=ray.get_runtime_context().get_node_id(), pid=os.getpid()
        )

    def lost_nodes(self) -> set[str]:
        """Nodes that are dead: what died with them was not the clip's fault."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {node["NodeID"] for node in nodes if not node["Alive"]}


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A connection to Ray: to the cluster at ``address``, or an embedded one on loopback.

    The working directory of workers is an empty folder: Ray would put the driver's on every
    worker's path, where a folder called ``models`` would hide ours.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's own errors reach us as exceptions and rows
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    with tempfile.TemporaryDirectory(prefix="ar-") as empty:
        environment = {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
            retry.VARIABLE: os.environ.get(retry.VARIABLE, retry.RUN_SECONDS),
        }
        common: dict[str, Any] = {
            "runtime_env": {"working_dir": empty, "env_vars": environment},
            "log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True,
        }  # fmt: skip
        with _announcements_kept(), _our_sigterm():
            if address is None:
                _start_embedded(common)
            else:
                ray.init(address=address, **common)
        # a run of one clip may have fewer shards than actors
        warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.verbose_progress = False
        context.wait_for_min_actors_s = WAIT_FOR_ACTORS_SECONDS
        # one shard may take longer than any limit that could stand here
        context.execution_no_progress_timeout_s = -1
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _announcements_kept() -> Iterator[None]:
    """Ray's native code announces its log level on stderr before it keeps to it; what it says is
    shown only when Ray does not start.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def _our_sigterm() -> Iterator[None]:
    """Connecting, Ray takes SIGTERM for itself, and its handler aborts: give it back."""
    ours = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)


def _start_embedded(options: dict[str, Any]) -> None:
    """Start Ray on loopback; on a busy machine its processes miss Ray's own fixed deadline.

    Ray takes a node's loopback address for its outward one, and then listens everywhere, unless it
    is told, as on macOS and Windows it is, that no other node will ever join.
    """
    alone = mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False)
    for left in (2, 1, 0):
        try:
            with alone:
                ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
            return
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or not left:
                raise
