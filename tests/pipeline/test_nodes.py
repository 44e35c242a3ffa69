"""A run on a cluster of two nodes on loopback survives the loss of a node."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import markers, wait_for, write_manifest
from tests.support.environment.nodes import Nodes
from tests.support.media.media_factory import H264, Clip, write_clip
from tests.support.paths import COMMAND
from tests.support.results import made

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="arn", ignore_cleanup_errors=True) as folder:
        cluster = Nodes(Path(folder))  # a short path, because it becomes part of socket names
        try:
            yield cluster
        finally:
            cluster.end()


def test_nodes_that_do_not_start_in_time_leave_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Nodes._start

    def late(self: Nodes, *options: str) -> None:
        start(self, *options)
        raise TimeoutError

    monkeypatch.setattr(Nodes, "_start", late)
    with tempfile.TemporaryDirectory(prefix="arn", ignore_cleanup_errors=True) as folder:
        with pytest.raises(TimeoutError):
            Nodes(Path(folder))
        left = subprocess.run(["pgrep", "-a", "-f", folder], capture_output=True, text=True)
    assert left.stdout == ""


def test_a_lost_node_loses_no_clip(nodes: Nodes, tmp_path: Path) -> None:
    worker = nodes.add_worker()
    write_clip(tmp_path / "web.mp4", Clip(frames=30, width=96, height=64, **H264))
    rows = [{"clip_id": f"web{i}", "source_uri": str(tmp_path / "web.mp4")} for i in range(8)]
    manifest, out = write_manifest(tmp_path / "m.csv", rows), str(tmp_path / "out")
    recipe = tmp_path / "short.toml"
    recipe.write_text('shard_frames = 15\nclean = "restore"\n')
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
    assert made(summary) == 8
    assert len(markers(out, "done")) == 8
    assert len(list(Path(out).glob("clips/*/*_rst.mkv"))) == 8
