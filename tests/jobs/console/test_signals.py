"""SIGTERM: the first one stops a run in order, the next one ends it; the exit code is 143."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.runs.events import Event
from pipeline.runs.stop import Stop
from tests.support.command_line import SUMMARY, invoke


@pytest.mark.parametrize("stop", [signal.SIGTERM, 128 + signal.SIGTERM])
def test_terminated_ends_with_143_whoever_handles_the_signal(flow: Any, stop: int) -> None:
    """Ray's own handler leaves with the bare number of the signal."""

    def stopped(*_: object, **__: object) -> dict[str, Any]:
        raise SystemExit(stop)

    flow(stopped)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 143


def test_sigterm_is_handled_while_a_run_is_under_way(flow: Any) -> None:
    def killed(*_: object, **__: object) -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return SUMMARY

    flow(killed)
    before = signal.getsignal(signal.SIGTERM)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_stops_a_run_in_order_and_a_second_one_ends_it(flow: Any) -> None:
    """It is taken back from Ray, whose native handler would abort the process."""
    cancelled: list[bool] = []

    def killed(
        *_: object, stop: Stop, progress: Callable[[Event], None], **__: object
    ) -> dict[str, Any]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        progress(Event(kind="run", run="r", total=1))
        cancelled.append(stop.cancelled)
        signal.raise_signal(signal.SIGTERM)
        cancelled.append(stop.cancelled)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("still there")

    flow(killed)
    result = invoke("submit", "m.csv", "--out", "x")
    assert cancelled == [False, True]
    assert result.exit_code == 143
    assert "Run it again to continue" in result.stderr


def test_sigterm_leaves_a_job_on_a_cluster_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: object, progress: Callable[[Event], None], **__: object) -> dict[str, Any]:
        progress(Event(kind="run", run="r", total=1))
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("still there")

    monkeypatch.setattr("jobs.cluster.submit.submit_job", follow)
    result = invoke("submit", "m.csv", "--out", "x", "--cluster", "http://head:8265")
    assert result.exit_code == 143
