"""The command line under test: calls, and a summary that a stand-in for the flow returns."""

from typing import Any

from typer.testing import CliRunner

from jobs import cli

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
