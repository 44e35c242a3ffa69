"""The command line under test, in this process or in another process."""

import csv
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from jobs import cli
from tests.support.paths import COMMAND

SUMMARY = {
    "run": "20260101T000000-abcdef",
    "exit_code": 3,
    "clips": {"published": 2, "quarantined": 1, "failed": 0},
    "frames": 1234,
    "seconds": 100.0,
    "fps": 12.34,
    "out": "restored",
}


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


def write_manifest(path: Path, rows: Sequence[dict[str, str]]) -> str:
    """Write a CSV manifest. Return its path."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, sorted({key for row in rows for key in row}))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


class Driver:
    """A run of `submit` in its own process group."""

    def __init__(self, manifest: str, out: str, recipe: Path) -> None:
        self.out = out
        command = [str(COMMAND), "submit", manifest, "--out", out]
        command += ["--recipe", str(recipe), "--json"]
        self.log = Path(f"{out}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def result(self) -> dict[str, Any]:
        """The summary, after the end of the run."""
        output, _ = self.process.communicate(timeout=600)
        assert output, (self.process.returncode, self.log.read_text()[-4000:])
        return dict(json.loads(output.splitlines()[-1]))


def wait_for(what: Callable[[], Any], seconds: float = 300) -> Any:
    """Call a function until its result is true. Return the result."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not true after {seconds} s")


def markers(out: str, kind: str) -> dict[str, int]:
    """The modification times of the ledger's objects of a kind, by path."""
    paths = Path(out).glob(f"runs/*/{kind}/**/*.json")
    return {str(path): path.stat().st_mtime_ns for path in paths}
