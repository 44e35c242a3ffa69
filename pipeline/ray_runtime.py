"""Ray, started on loopback, quiet, and without the driver's folder on the workers' path.

Every workaround for Ray 2.60 is here.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.data import DataContext

from pipeline.runs.closing import Devices
from pipeline.runs.ledger import WorkerId

WAIT_FOR_ACTORS_SECONDS = 600
STARTS = 3  # on a busy machine Ray can miss its own fixed deadline for the start of its processes
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
}


def devices() -> Devices:
    """The GPUs and CPUs of the cluster."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Devices(int(found.get("GPU", 0)), int(found.get("CPU", 1)))


class RayNodes:
    """The nodes of the Ray cluster."""

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""
        return WorkerId(
            session=session, node=ray.get_runtime_context().get_node_id(), pid=os.getpid()
        )

    def lost_nodes(self) -> set[str]:
        """The ids of dead nodes. A worker that died with its node was not killed by the clip."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {node["NodeID"] for node in nodes if not node["Alive"]}


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to Ray: to the cluster at ``address``, or to an embedded one on loopback.

    The working directory of workers is an empty folder. Otherwise Ray puts the driver's working
    directory on every worker's path, and a folder ``models`` in it hides this package's.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's errors arrive as exceptions and rows
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    with tempfile.TemporaryDirectory(prefix="ar-") as empty:
        options: dict[str, Any] = {
            "runtime_env": {"working_dir": empty, "env_vars": WORKER_ENVIRONMENT},
            "log_to_driver": False,
            "logging_level": "ERROR",
            "ignore_reinit_error": True,
        }
        with _startup_messages_held(), _own_sigterm():
            if address is None:
                _start_embedded(options)
            else:
                ray.init(address=address, **options)
        _quiet_ray_data()
        try:
            yield
        finally:
            ray.shutdown()


def _quiet_ray_data() -> None:
    """No progress bars, no warnings without use for people, no time limit for a shard."""
    # a run of one clip may have fewer shards than actors
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    context.wait_for_min_actors_s = WAIT_FOR_ACTORS_SECONDS
    # one shard may take longer than any limit
    context.execution_no_progress_timeout_s = -1


@contextmanager
def _startup_messages_held() -> Iterator[None]:
    """Hold back the messages that Ray's native code writes to stderr during its start.

    They are shown only if Ray does not start.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM. Ray replaces it by one that aborts."""
    ours = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)


def _start_embedded(options: dict[str, Any]) -> None:
    """Start Ray on loopback. Try again if its processes miss Ray's deadline."""
    for left in range(STARTS - 1, -1, -1):
        try:
            with _one_node_only():
                ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
            return
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or not left:
                raise


@contextmanager
def _one_node_only() -> Iterator[None]:
    """Make Ray start as on macOS and Windows, where no other node can join.

    On Linux it replaces a loopback address by an external address and listens on all interfaces.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
