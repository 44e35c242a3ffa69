"""The lease: one writer for an output. One process can take the lease of a dead process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from jobs import cli
from pipeline.runs import lease
from pipeline.runs.lease import Lease, LeaseLost, Locked, Tenure, held, newest, take
from pipeline.runs.process import Process
from pipeline.store import layout, storage
from schemas.errors import ArchiveError
from schemas.recipe import Recipe

pytest_plugins = ("tests.support.environment.s3",)

ELSEWHERE = Process("other-host", "another boot", 1, "", "curator")


def leave(out: str, tenure: Tenure) -> None:
    """Put the lease of another holder into an output."""
    number, _ = newest(out)
    assert storage.create(layout.lease(out, number + 1), tenure.to_json())


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_a_second_writer_is_refused_with_the_name_of_the_first(store_root: str) -> None:
    with held(store_root, "submit") as first:
        first.renew(run="20260101T000000-abcdef")
        with pytest.raises(Locked) as refused:
            take(store_root, "submit")
        message = str(refused.value)
        for fact in ("run 20260101T000000-abcdef", socket.gethostname(), f"process {os.getpid()}",
                     first.tenure.taken, f"last heartbeat {first.tenure.renewed}"):  # fmt: skip
            assert fact in message
        assert refused.value.exit_code == 6
    with held(store_root, "submit") as second:
        assert second.number == first.number + 1


def test_a_second_run_is_refused_before_anything_starts(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import flow  # Ray takes seconds to import, and the other tests need none

    def cluster(address: str | None) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(flow.ray_runtime, "cluster", cluster)
    out = str(tmp_path)
    with held(out, "submit"):
        with pytest.raises(Locked):
            flow.run("manifest.csv", out, Recipe(), progress=lambda event: None)
        command = ["submit", "manifest.csv", "--out", out, "--json"]
        result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 6
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == 6 and f"process {os.getpid()}" in answer["error"]


def test_the_lease_ends_with_its_block(tmp_path: object) -> None:
    out = str(tmp_path)
    for end in (SystemExit(143), KeyboardInterrupt(), ValueError()):
        with pytest.raises(type(end)), held(out, "submit"):
            raise end
    number, tenure = newest(out)
    assert number == 3
    assert tenure is not None and tenure.ended


def test_the_lease_of_a_killed_process_can_be_taken_at_once(store_root: str) -> None:
    """Its heartbeat is fresh, but its process is gone from this machine."""
    code = (
        "import sys, time; from pipeline.runs import lease\n"
        "lease.take(sys.argv[1], 'submit'); print('taken', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, store_root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "taken\n"
        with pytest.raises(Locked, match=f"process {holder.pid}"):
            take(store_root, "submit")
        holder.send_signal(signal.SIGKILL)
        os.waitid(
            os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT
        )  # a zombie: no process has waited for it
        assert take(store_root, "submit").number == 2


def test_a_reused_process_id_is_not_the_holder() -> None:
    here = Process.here()
    assert here.alive() is True
    assert replace(here, started="1").alive() is False
    assert replace(here, machine="another boot").alive() is None
    assert replace(here, started="").alive() is None


def test_a_living_holder_on_this_machine_may_miss_heartbeats(tmp_path: object) -> None:
    """It may be slow or suspended, and may write again later."""
    out = str(tmp_path)
    leave(out, Tenure("submit", Process.here(), ago(900), ago(900)))
    with pytest.raises(Locked):
        take(out, "submit")


@pytest.mark.parametrize(("silent", "free"), [(60, False), (120, True)])
def test_the_lease_of_another_machine_goes_stale(
    tmp_path: object, silent: float, free: bool
) -> None:
    out = str(tmp_path)
    leave(out, Tenure("submit", ELSEWHERE, ago(900), ago(silent)))
    if free:
        assert take(out, "submit").number == 2
    else:
        with pytest.raises(Locked, match="curator@other-host"):
            take(out, "submit")


def test_one_of_twelve_processes_takes_a_stale_lease(store_root: str) -> None:
    leave(store_root, Tenure("submit", ELSEWHERE, ago(900), ago(900)))
    start = threading.Barrier(12)

    def attempt(_: int) -> bool:
        start.wait()
        try:
            take(store_root, "submit")
        except Locked:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(attempt, range(12))).count(True) == 1
    assert newest(store_root)[0] == 2


def test_a_holder_notices_that_its_lease_was_taken(tmp_path: object) -> None:
    out, losses = str(tmp_path), []
    mine = take(out, "submit", on_loss=lambda: losses.append("lost"))
    mine.check()
    leave(out, Tenure("submit", ELSEWHERE, ago(0), ago(0)))
    before = storage.read_bytes(layout.lease(out, 1))
    mine.renew()
    mine.renew()
    assert losses == ["lost"]
    with pytest.raises(LeaseLost, match="taken over"):
        mine.check()
    assert storage.read_bytes(layout.lease(out, 1)) == before


def test_the_heartbeat_continues_after_faults_of_the_store(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.001)
    beats, over = [], threading.Event()

    class Failing(Lease):
        def renew(self, **_: str) -> None:
            beats.append(len(beats))
            if len(beats) == 3:
                over.set()
            raise ArchiveError("the store answered 503")

    Failing(str(tmp_path), 1, Tenure("submit", ELSEWHERE, ago(0), ago(0))).beat(over)
    assert beats == [0, 1, 2]


def test_a_file_that_is_not_a_lease_is_named(tmp_path: object) -> None:
    storage.write_bytes(f"{tmp_path}/lease/00000001.json", b"{")
    with pytest.raises(ArchiveError, match=r"00000001\.json is not a lease"):
        take(str(tmp_path), "submit")
