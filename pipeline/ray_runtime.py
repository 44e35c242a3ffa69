"""Ray, started on loopback, quiet, and without the driver's folder on the workers' path.

Every workaround for Ray 2.60 is here.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import auto_init_hook, ray_constants, services, worker
from ray._private.authentication.authentication_token_generator import (
    generate_new_authentication_token,
)
from ray.data import DataContext

from pipeline.ray_watch import Watch
from pipeline.runs.closing import SHARDS_PER_GPU, Devices
from pipeline.runs.ledger import WorkerId
from pipeline.store.private import private_folder
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

log = logging.getLogger(__name__)

WAIT_FOR_ACTORS_SECONDS = 600
STARTS = 3  # on a busy machine Ray can miss its own fixed deadline for the start of its processes
SOCKET_PATH_BYTES = 107  # sun_path of unix(7), without its zero byte
# The longest path that Ray adds to its folder: 7 digits of a process id, and a number if it is used
LONGEST_SOCKET = "/session_2026-11-30_01-48-48_123456_4194304/sockets/plasma_store.10"
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

    gpu_share = 1 / SHARDS_PER_GPU
    _room: int | None = None  # asked for once in each process

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""
        return WorkerId(
            session=session, node=ray.get_runtime_context().get_node_id(), pid=os.getpid()
        )

    def lost_nodes(self) -> set[str]:
        """The ids of dead nodes. A worker that died with its node was not killed by the clip."""
        return {node["NodeID"] for node in _nodes() if not node["Alive"]}

    def room(self) -> int:
        """The memory in bytes that a worker that restores may take, on the smallest node.

        That is Ray's memory of a node, shared by all workers that restore there.
        """
        if self._room is None:
            alive = [node["Resources"] for node in _nodes() if node["Alive"]]
            with_gpus = any(has.get("GPU") for has in alive)
            kind, each = ("GPU", SHARDS_PER_GPU) if with_gpus else ("CPU", 1)
            shares = [has["memory"] / (has[kind] * each) for has in alive if has.get(kind)]
            self._room = int(min(shares))
        return self._room


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


@contextmanager
def cluster(address: str | None) -> Iterator[Watch]:
    """Connect to Ray: to the cluster at ``address``, or to an embedded one on loopback.

    Yields the watch over the processes of an embedded Ray.

    The working directory of workers is an empty folder. Otherwise Ray puts the driver's working
    directory on every worker's path, and a folder ``models`` in it hides this package's. Ray makes
    its own folders writable for everybody, and workers import from them. So all of them lie in a
    private folder.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's errors arrive as exceptions and rows
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # A thread of Ray Data that outlives the cluster must not start another one
    auto_init_hook.enable_auto_connect = False
    with ExitStack() as opened:
        folder = opened.enter_context(session_folder(_temp()))
        empty = folder / "empty"
        empty.mkdir()
        options: dict[str, Any] = {
            "runtime_env": {"working_dir": str(empty), "env_vars": WORKER_ENVIRONMENT},
            "log_to_driver": False,
            "logging_level": "ERROR",
            "ignore_reinit_error": True,
        }
        with _startup_messages_held(), _own_sigterm():
            if address is None:
                protect_token()
                _start_embedded(options | {"_temp_dir": str(folder)})
            else:
                ray.init(address=address, **options)
        _quiet_ray_data()
        watch = Watch(_central_processes() if address is None else {})
        try:
            yield watch
        finally:
            _abandon(opened.pop_all()) if watch.dead() else ray.shutdown()


def _central_processes() -> dict[str, subprocess.Popen[bytes]]:
    """The processes of the embedded Ray that it cannot live without."""
    found = worker._global_node.all_processes  # type: ignore[attr-defined]
    names = ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET
    return {name: found[name][0].process for name in names}


def _abandon(opened: ExitStack) -> None:
    """Kill the workers of a Ray that has lost a process. `ray.shutdown` would wait for it.

    A raylet that is alive stands still until this process ends: it starts no more workers, and if
    it died, Ray could end this process before it has said why.
    """
    atexit.unregister(worker.shutdown)
    raylet = _central_processes()["raylet"]
    if raylet.poll() is None:  # otherwise workers end by themselves
        raylet.send_signal(signal.SIGSTOP)
        for pid in _children(raylet.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    atexit.register(_end_abandoned, opened)


def _end_abandoned(opened: ExitStack) -> None:
    """End this process without Ray's native code, which would wait or crash at its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    worker._global_node.kill_all_processes(check_alive=False)  # type: ignore[attr-defined]
    opened.close()
    os._exit(ExitCode.FAILED)


def _children(pid: int) -> list[int]:
    """The ids of the children of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for found in lists for word in found.read_text().split()]


def _temp() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


@contextmanager
def session_folder(temp: Path) -> Iterator[Path]:
    """A new private folder for one session of Ray, with room for the paths of its sockets.

    It lies in `temp`, or in /tmp if that path is too long. At the end it is removed, except for
    the logs of the last session. Raises ArchiveError.
    """
    room = SOCKET_PATH_BYTES - len(LONGEST_SOCKET) - len("/12345678")
    short = len(os.fsencode(temp / f"ar-{os.geteuid()}-ray")) <= room
    base = private_folder("ray", temp if short else Path("/tmp"))
    folder = Path(tempfile.mkdtemp(prefix="", dir=base))
    try:
        yield folder
    finally:
        with suppress(OSError):  # one that never started has none
            shutil.rmtree(base / "logs", ignore_errors=True)
            (folder / "session_latest" / "logs").resolve().rename(base / "logs")
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder that processes which are about to end may still write to."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def protect_token() -> None:
    """Give `~/.ray/auth_token` the mode 0600, and make it if it is missing.

    Whoever has it can run code in the run. Ray writes it with the mode 0644. Raises ArchiveError
    if it belongs to another user.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if named or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    file = Path.home() / ".ray" / "auth_token"
    with suppress(FileExistsError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with os.fdopen(os.open(file, flags, 0o600), "w") as stream:
            stream.write(generate_new_authentication_token())
    found = file.stat()
    if found.st_uid != os.geteuid():
        raise ArchiveError(f"Ray's token {file} belongs to the user {found.st_uid}; remove it")
    if found.st_mode & 0o077:
        file.chmod(0o600)
        log.warning(
            "other users could read %s; its mode is 0600 now; remove the file if somebody may have "
            "read it, and Ray makes another token",
            file,
        )


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
    """Start Ray on loopback. Try again if it misses its own deadline. Raises ArchiveError."""
    for left in range(STARTS - 1, -1, -1):
        started: list[subprocess.Popen[bytes]] = []
        try:
            with _one_node_only(), _bound_to_driver(started):
                ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
            return
        except Exception as error:
            ray.shutdown()
            for process in started:  # `shutdown` does not know those of a start that failed
                process.kill()
            if "timed out during startup" not in str(error):
                raise
            if not left:
                raise ArchiveError(
                    f"Ray did not start in {STARTS} tries; this machine may be too busy. Start the "
                    "command again later. Finished work is kept.",
                    exit_code=ExitCode.FAILED,
                ) from error


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


@contextmanager
def _bound_to_driver(started: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Start each process of Ray in a process group of its own, to end with the driver.

    A signal to the group of the driver asks the driver to stop. It would kill Ray.
    """
    before: Any = services.ConsolePopen

    def start(*command: Any, preexec_fn: Callable[[], None], **options: Any) -> Any:  # noqa: ANN401
        process = before(
            *command,
            preexec_fn=partial(_end_with, os.getpid(), preexec_fn),
            process_group=0,
            **options,
        )
        started.append(process)
        return process

    services.ConsolePopen = start  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        services.ConsolePopen = before  # type: ignore[misc]


def _end_with(driver: int, prepare: Callable[[], None]) -> None:
    """Prepare a process of Ray before it begins, and end it if the driver has been killed.

    Ray asks the kernel to kill it at the driver's end (PR_SET_PDEATHSIG of prctl(2)). An end before
    that request does not count, so a gcs_server would stay for ever.
    """
    prepare()
    if os.getppid() != driver:
        os._exit(ExitCode.FAILED)
