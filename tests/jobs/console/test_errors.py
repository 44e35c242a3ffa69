"""Errors: one line for a mistake of the user, a traceback for a defect, JSON for programs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import invoke


def test_a_mistake_of_the_users_is_one_line_and_exit_2() -> None:
    result = invoke("submit", "manifest.csv", "--out", "x", "--recipe", "nonesuch")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("archive-restore: no recipe 'nonesuch'")
    assert result.stderr.count("\n") == 1


def test_with_json_the_mistake_is_on_stdout_as_well() -> None:
    result = invoke("submit", "manifest.csv", "--out", "x", "--no-wait", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert "--no-wait needs --cluster" in json.loads(result.stdout)["error"]


def test_our_own_defects_keep_their_traceback(flow: Any) -> None:
    def broken(*_: object, **__: object) -> dict[str, Any]:
        raise ZeroDivisionError

    flow(broken)
    result = invoke("submit", "m.csv", "--out", "x")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_interrupted_ends_with_130(flow: Any) -> None:
    def interrupted(*_: object, **__: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    flow(interrupted)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 130


def test_a_mistake_is_json_on_both_streams(tmp_path: Path) -> None:
    script = "from jobs.cli import app\napp(['status', '--out', '{}', '--json'])"
    done = subprocess.run(
        [sys.executable, "-c", script.format(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2
    (line,) = done.stderr.splitlines()
    assert "there is no run" in json.loads(line)["sentence"]


def test_a_defect_of_ours_is_one_line_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("jobs.monitor.status.read_status", broken)
    result = invoke("status", "--out", "o", "--json")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert (
        "Traceback" in json.loads(line)["sentence"] and "in broken" in json.loads(line)["sentence"]
    )
    assert json.loads(result.stdout) == {"error": "ZeroDivisionError('ours')", "exit_code": 1}
    assert invoke("status", "--json", "--nonesuch").exit_code == 2
