"""Ray's central processes die, or a signal reaches the whole process group: the run says so."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.ray_watch import RayLost, Watch
from pipeline.runs.lease import newest
from tests.support.command_line import Driver, markers, wait_for, write_manifest
from tests.support.media.media_factory import H264, Clip, write_clip

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def raylet() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


@pytest.mark.timeout(60)
def test_rows_that_never_come_end_with_the_process_that_would_send_them(
    raylet: subprocess.Popen[bytes],
) -> None:
    first_read, never = threading.Event(), threading.Event()

    def blocked() -> Iterator[int]:
        yield 1
        first_read.wait()
        raylet.kill()
        never.wait()

    rows = Watch({"raylet": raylet}).rows(blocked)
    assert next(rows) == 1
    first_read.set()
    with pytest.raises(RayLost, match=r"Ray's node process \(raylet, process \d+\) was killed by"):
        next(rows)
    never.set()


@pytest.mark.timeout(60)
def test_an_error_that_follows_the_death_of_a_process_is_told_as_that_death(
    raylet: subprocess.Popen[bytes],
) -> None:
    def broken() -> Iterator[int]:
        raylet.kill()
        raylet.wait()
        raise OSError("connection reset")
        yield 1

    with pytest.raises(RayLost, match="was killed by SIGKILL"):
        list(Watch({"raylet": raylet}).rows(broken))
    with pytest.raises(OSError, match="connection reset"):
        list(Watch({}).rows(broken))


def test_rows_come_in_order_and_end() -> None:
    assert list(Watch({}).rows(lambda: range(100))) == list(range(100))


@pytest.mark.slow
def test_a_group_signal_spares_ray_and_the_death_of_its_control_process_ends_the_run(
    tmp_path: Path,
) -> None:
    # A shard takes seconds. Only its restoration keeps a run alive after the signal.
    write_clip(tmp_path / "web.mp4", Clip(frames=360, width=96, height=64, **H264))
    rows = [{"clip_id": f"web{i}", "source_uri": str(tmp_path / "web.mp4")} for i in range(4)]
    recipe, out = tmp_path / "short.toml", str(tmp_path / "out")
    recipe.write_text('shard_frames = 180\nclean = "restore"\n')
    driver = Driver(write_manifest(tmp_path / "m.csv", rows), out, recipe)
    try:
        wait_for(lambda: any(Path(m).name.startswith("0-") for m in markers(out, "attempts")))
        below = psutil.Process(driver.process.pid).children(recursive=True)
        central = {p.name(): p for p in below if p.name() in ("gcs_server", "raylet")}
        os.killpg(driver.process.pid, signal.SIGTERM)
        wait_for(lambda: "was asked to stop" in driver.log.read_text())
        assert all(p.status() != psutil.STATUS_ZOMBIE for p in central.values()), central
        central["gcs_server"].kill()
        error = driver.result()
    finally:
        driver.process.kill()
    assert "Ray's control process (gcs_server, process" in error["error"]
    assert driver.process.returncode == error["exit_code"] == 1
    _, tenure = newest(out)
    assert tenure is not None and tenure.ended
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    assert json.loads(driver.log.read_text().splitlines()[-1])["kind"] == "error"
