"""The fault run: servers, nodes and processes die, and every clip still ends once and correctly.

The whole run, on a cluster of two nodes, needs TEST_FAULTS=1 (`make test-faults`). A part of it
always runs.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.store.retry import RetryPolicy
from pipeline.store.storage import Store
from tests.support.environment.fault_run import FAULTS, FaultRun, finished
from tests.support.environment.nodes import Nodes
from tests.support.environment.s3 import S3Server, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A separate server for one test, which is killed and restarted."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "s3"
    folder.mkdir()
    with serve(folder) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


def test_requests_wait_for_a_store_that_restarts(server: S3Server) -> None:
    """No request fails, and no object counts as missing."""
    store, prefix = Store(RetryPolicy(200)), "s3://archive/restart"
    for n in range(4):
        store.write_bytes(f"{prefix}/old/{n}", b"%d" % n)
    server.kill()
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: store.read_bytes(f"{prefix}/old/1"),
        "exists": lambda: store.exists(f"{prefix}/old/2"),
        "create": lambda: store.create(f"{prefix}/new", b"new"),
        "claimed": lambda: store.create(f"{prefix}/old/3", b"rival"),
        "write": lambda: store.write_bytes(f"{prefix}/old/0", b"again"),
        "list": lambda: len(list(store.listing(f"{prefix}/old"))),
    }
    with ThreadPoolExecutor(len(steps)) as pool:
        waiting = {name: pool.submit(step) for name, step in steps.items()}
        time.sleep(2)
        assert not any(answer.done() for answer in waiting.values())
        server.start()
        answers = {name: answer.result(timeout=200) for name, answer in waiting.items()}
    assert answers == {
        "read": b"1", "exists": True, "create": True, "claimed": False, "write": None, "list": 4,
    }  # fmt: skip
    assert store.read_bytes(f"{prefix}/old/0") == b"again"


def test_a_run_survives_faults(tmp_path: Path, server: S3Server) -> None:
    faults = ("missing", "cut", "flipped", "crash", "changed", "list")
    run = FaultRun(tmp_path, server, clips=18, faults=faults)
    run.prepare()
    try:
        first = run.drive()
        run.kill_an_actor(first)
        run.wait_for_done(4, first)
        run.restart_the_store(seconds=3)
        run.wait_for_done(9, first)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        time.sleep(3)  # work in progress dies with its raylet
        assert 9 <= len(run.names("done")) < 18
        run.check(finished(run.drive(), run.log))
    finally:
        run.end()


@pytest.mark.skipif(os.environ.get("TEST_FAULTS") != "1", reason="takes long: make test-faults")
def test_a_hundred_clips_on_two_nodes(tmp_path: Path, server: S3Server) -> None:
    with tempfile.TemporaryDirectory(prefix="arn", ignore_cleanup_errors=True) as folder:
        run = FaultRun(tmp_path, server, clips=100, faults=tuple(FAULTS), options=("--on-cluster",))
        run.prepare()
        nodes = Nodes(Path(folder), run.env)
        run.extra = nodes.env | run.env | {"RAY_ADDRESS": f"127.0.0.1:{nodes.gcs}"}
        over = threading.Event()
        poisoner = threading.Thread(target=run.poison, args=(over,), daemon=True)
        try:
            worker = nodes.add_worker()
            poisoner.start()
            kill_everything(run, nodes, worker)
        finally:
            over.set()
            poisoner.join()
            run.end()
            nodes.end()


def kill_everything(run: FaultRun, nodes: Nodes, worker: int) -> None:
    """Kill workers, the store, a node and the first driver. A second driver ends the run."""
    first = run.drive()
    run.wait_for_done(5, first)
    run.kill_an_actor(first)
    run.wait_for_done(20, first)
    run.restart_the_store(seconds=10)
    run.wait_for_done(35, first)
    nodes.lose(worker)
    time.sleep(1)
    nodes.add_worker()
    run.wait_for_done(50, first)
    first.kill()
    first.wait()
    time.sleep(5)
    assert 50 <= len(run.names("done")) < 100
    second = run.drive()
    run.check(finished(second, run.log))
    assert len(run.killed) >= 3
