"""A Ray cluster of several nodes on loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.support.environment.s3 import _free_ports as free_ports

RAY = Path(sys.executable).with_name("ray")


class Nodes:
    """A head node and workers of one test. They are killed by process id, not by `ray stop`."""

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
        try:
            self._start(
                "--head",
                f"--port={self.gcs}",
                "--dashboard-host=127.0.0.1",
                "--include-dashboard=true",
                f"--dashboard-port={self.dashboard}",
                f"--metrics-export-port={metrics}",
            )  # fmt: skip
        except BaseException:
            self.end()
            raise

    @property
    def address(self) -> str:
        """The address of the dashboard, which takes jobs."""
        return f"http://127.0.0.1:{self.dashboard}"

    def _start(self, *options: str) -> None:
        command = [str(RAY), "start", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--num-gpus=0"]
        command += ["--object-store-memory=150000000", "--disable-usage-stats"]
        for _ in range(2):  # Ray gives a node 30 s, which is too short on a busy machine
            # each node has its own: at its start, a node empties the working directories in it
            temp = tempfile.mkdtemp(dir=self.folder)
            began = subprocess.run(
                [*command, f"--temp-dir={temp}", *options],
                env=self.env,
                capture_output=True,
                timeout=180,
            )
            if began.returncode == 0:
                return
            self._kill(temp)  # what a failed start leaves keeps the port
        raise AssertionError(began.stderr.decode(errors="replace"))

    def raylets(self, folder: str = "") -> set[int]:
        """The process ids of the raylets of this cluster, or of one temporary folder."""
        wanted = f"raylet/raylet .*{folder or self.folder}"
        found = subprocess.run(["pgrep", "-f", wanted], capture_output=True, text=True)
        return {int(pid) for pid in found.stdout.split()}

    def add_worker(self) -> int:
        """Start a node. Return the process id of its raylet."""
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
        """Kill all processes of a node at once."""
        node = psutil.Process(raylet)
        for process in [node, *node.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def end(self) -> None:
        """Kill all nodes, and the server for Ray clients, whose command names no folder."""
        self._kill(str(self.folder))
        subprocess.run(["pkill", "-9", "-f", f"ray.util.client.server .*:{self.gcs} "])

    def _kill(self, folder: str) -> None:
        for raylet in self.raylets(folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.lose(raylet)
        subprocess.run(["pkill", "-9", "-f", folder])
