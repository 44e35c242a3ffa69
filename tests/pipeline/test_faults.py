"""The fault run: servers, nodes and processes die, and every clip still ends once and correctly.

The whole runs, of a thousand clips and on two nodes, need TEST_FAULTS=1 (`make test-faults`). A
part of them always runs. `tests.support.environment.planted` is the table of faults.
"""

import os
import random
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.console.output import say
from pipeline.store.retry import RetryPolicy
from pipeline.store.storage import Store
from tests.support.environment.fault_run import FaultRun, finished
from tests.support.environment.killing import GRACE_SECONDS, VICTIMS, Killer, plan, small_disk
from tests.support.environment.nodes import Nodes
from tests.support.environment.planted import FAULTS
from tests.support.environment.s3 import S3Server, serve
from tests.support.environment.store_proxy import Proxy, proxied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
LONG = pytest.mark.skipif(
    os.environ.get("TEST_FAULTS") != "1", reason="takes long: make test-faults"
)
# Cheap ones of each kind, for the run of every day.
SHORT = (
    *("missing", "pipe", "loop", "changed", "zero", "text", "list", "extension", "cut", "moov"),
    *("flipped", "crash", "tracks", "encrypted", "small", "denied", "cold", "hiccup", "turned"),
    *("mirrored", "b-frames", "cinepak", "leave", "embargo", "-rf", "CON.__proto__"),
)


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
    run = FaultRun(tmp_path, server, clips=12 + len(SHORT), faults=SHORT)
    run.prepare()
    with proxied(server.endpoint, Proxy(rules=run.rules(), share=0.01)) as proxy:
        run.extra = {"AWS_ENDPOINT_URL": proxy.endpoint}
        try:
            first = run.drive()
            run.kill_an_actor(first)
            run.wait_for_done(8, first)
            run.restart_the_store(seconds=3)
            run.wait_for_done(16, first)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            time.sleep(3)  # work in progress dies with its raylet
            assert 16 <= run.ended() < run.clips
            run.check(finished(run.drive(), run.log))
        finally:
            run.end()


@LONG
def test_a_hundred_clips_on_two_nodes(tmp_path: Path, server: S3Server) -> None:
    faults = tuple(name for name, fault in FAULTS.items() if not fault.store)
    with tempfile.TemporaryDirectory(prefix="arn", ignore_cleanup_errors=True) as folder:
        run = FaultRun(tmp_path, server, clips=100, faults=faults, options=("--on-cluster",))
        run.prepare()
        nodes = Nodes(Path(folder), run.env)
        run.extra = nodes.env | run.env | {"RAY_ADDRESS": f"127.0.0.1:{nodes.gcs}"}
        try:
            worker = nodes.add_worker()
            with run.poisoned():
                kill_everything(run, nodes, worker)
        finally:
            run.end()
            nodes.end()


@LONG
def test_a_thousand_small_clips(tmp_path: Path, server: S3Server) -> None:
    """Everything is killed at moments of a seed.

    TEST_FAULTS_SEED repeats one. TEST_FAULTS_CLIPS takes fewer clips, on a slow machine.
    """
    seed = int(os.environ.get("TEST_FAULTS_SEED") or secrets.randbelow(1_000_000))
    clips = int(os.environ.get("TEST_FAULTS_CLIPS") or 1000)
    run = FaultRun(tmp_path, server, clips=clips, faults=tuple(FAULTS), strength=0.0)
    run.prepare()
    say(f"TEST_FAULTS_SEED={seed}: {plan(seed, run.clips)}")
    weather = Proxy(rules=run.rules(), share=0.01, rng=random.Random(seed))
    with (
        tempfile.TemporaryDirectory(prefix="arf", ignore_cleanup_errors=True) as short,
        small_disk(tmp_path / "disk", 96) as disk,
        proxied(server.endpoint, weather) as proxy,
    ):
        run.extra = {
            "AWS_ENDPOINT_URL": proxy.endpoint, "RAY_TMPDIR": short,
            "TMPDIR": str(tmp_path / "disk"), "ARCHIVE_RESTORE_RETRY_SECONDS": "60",
        }  # fmt: skip
        try:
            killer = Killer(run, seed, disk)
            with run.poisoned():
                last = killer.restored(plan(seed, run.clips))
                last = killer.wait_for(run.clips, last)
                summary = finished(last, run.log, GRACE_SECONDS)
            run.check(summary)
            assert sorted(killer.killed) == sorted(VICTIMS) and run.swaps
        finally:
            run.end()
            say(f"the store: {dict(proxy.seen)}")


def kill_everything(run: FaultRun, nodes: Nodes, worker: int) -> None:
    """Kill workers, the store, a node and the first driver. A second driver ends the run."""
    first = run.drive()
    run.wait_for_done(10, first)
    run.kill_an_actor(first)
    run.wait_for_done(30, first)
    run.restart_the_store(seconds=10)
    run.wait_for_done(50, first)
    nodes.lose(worker)
    time.sleep(1)
    nodes.add_worker()
    run.wait_for_done(70, first)
    first.kill()
    first.wait()
    time.sleep(5)
    assert 70 <= run.ended() < 100
    second = run.drive()
    run.check(finished(second, run.log))
    assert len(run.killed) >= 3
