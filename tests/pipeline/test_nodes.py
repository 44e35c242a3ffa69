"""A cluster of two nodes on loopback: the job runs there, and a lost node costs time, not clips."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.pipeline.test_flow import COMMAND, markers, wait_for, write_manifest
from tests.support.media_factory import H264, Clip, write_clip
from tests.support.s3 import _free_ports as free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RAY = Path(sys.executable).with_name("ray")


class Nodes:
    """A head and workers of this test's own; ended by their processes, never by `ray stop`."""

    def __init__(self, folder: Path, env: Mapping[str, str] = os.environ) -> None:
        self.folder = folder
        (folder / "token").write_text(secrets.token_hex(32))
        self.env = dict(env) | {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "PATH": f"{RAY.parent}:{env['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        self.gcs, self.dashboard, metrics = free_ports(3)
        self._start(
            "--head",
            f"--port={self.gcs}",
            "--dashboard-host=127.0.0.1",
            "--include-dashboard=true",
            f"--dashboard-port={self.dashboard}",
            f"--metrics-export-port={metrics}",
        )  # fmt: skip

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def _start(self, *options: str) -> None:
        command = [str(RAY), "start", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--num-gpus=0"]
        command += ["--object-store-memory=150000000", "--disable-usage-stats"]
        # each its own: beginning, a node empties the working directories of its temp-dir
        command += [f"--temp-dir={tempfile.mkdtemp(dir=self.folder)}", *options]
        for last in (False, True):  # Ray gives a node 30 s to begin, too few on a busy machine
            began = subprocess.run(command, env=self.env, capture_output=True, timeout=180)
            if began.returncode == 0 or last:
                break
        assert began.returncode == 0, began.stderr.decode(errors="replace")

    def raylets(self) -> set[int]:
        found = subprocess.run(
            ["pgrep", "-f", f"raylet/raylet .*{self.folder}"], capture_output=True, text=True
        )
        return {int(pid) for pid in found.stdout.split()}

    def add_worker(self) -> int:
        """The process id of the new node's raylet."""
        before = self.raylets()
        agent, metrics = free_ports(2)
        self._start(
            f"--address=127.0.0.1:{self.gcs}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
        )  # fmt: skip
        (raylet,) = self.raylets() - before
        return raylet

    def lose(self, raylet: int) -> None:
        """The whole node at once, as when its plug is pulled."""
        node = psutil.Process(raylet)
        for process in [node, *node.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def end(self) -> None:
        for raylet in self.raylets():
            self.lose(raylet)
        subprocess.run(["pkill", "-9", "-f", str(self.folder)], capture_output=True)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="arn", ignore_cleanup_errors=True) as folder:
        cluster = Nodes(Path(folder))  # the path is short: it goes into names of sockets
        try:
            yield cluster
        finally:
            cluster.end()


def test_a_lost_node_costs_no_clip(nodes: Nodes, tmp_path: Path) -> None:
    worker = nodes.add_worker()
    write_clip(tmp_path / "web.mp4", Clip(frames=30, width=96, height=64, **H264))
    rows = [{"clip_id": f"web{i}", "source_uri": str(tmp_path / "web.mp4")} for i in range(8)]
    manifest, out = write_manifest(tmp_path / "m.csv", rows), str(tmp_path / "out")
    recipe = tmp_path / "short.toml"
    recipe.write_text("shard_frames = 15\n")
    command = [str(COMMAND), "submit", manifest, "--out", out, "--recipe", str(recipe), "--json"]
    log = (tmp_path / "submit.log").open("wb")
    driver = subprocess.Popen(
        [*command, "--cluster", nodes.address], env=nodes.env, stdout=subprocess.PIPE, stderr=log
    )

    def nodes_at_work() -> bool:
        attempts = [json.loads(p.read_text()) for p in Path(out).glob("runs/*/attempts/*/*.json")]
        return len({attempt["node"] for attempt in attempts}) == 2 and bool(markers(out, "done"))

    wait_for(nodes_at_work)
    nodes.lose(worker)
    time.sleep(1)
    nodes.add_worker()
    output, _ = driver.communicate(timeout=600)
    assert output, (tmp_path / "submit.log").read_text()[-4000:]
    summary = json.loads(output.splitlines()[-1])
    assert summary["exit_code"] == 0, (tmp_path / "submit.log").read_text()[-6000:]
    assert summary["clips"]["published"] == 8
    assert len(markers(out, "done")) == 8
    assert len(list(Path(out).glob("clips/*/*_rst.mkv"))) == 8
