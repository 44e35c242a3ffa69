"""Submission to a cluster: found again, followed through broken connections, its exit code kept."""

import asyncio
import json
import os
import sys
import types
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from jobs.cluster import submit
from jobs.cluster.submit import JobRefused, LogFollower, follow, passed_on, submit_job
from pipeline.runs.events import Event
from pipeline.runs.stop import Stop
from schemas.errors import ArchiveError
from schemas.recipe import Recipe, load_recipe

DASHBOARD = "http://127.0.0.1:8265"
SUMMARY = {"run": "r", "exit_code": 3, "clips": {"published": 1, "failed": 1}}
EVENT = Event(kind="clip", clip_id="a", state="published", frames=4, done=1, total=2)
LOG = f"ray speaks\n{json.dumps(EVENT.to_dict())}\n{json.dumps(SUMMARY)}\n"


class Status(str):
    def is_terminal(self) -> bool:
        return self in ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass
class Job:
    """A job as the dashboard shows it; `logs` are what each connection sends before it breaks."""

    submission_id: str
    status: Status
    logs: list[str] = field(default_factory=list)
    message: str = ""
    entrypoint: str = ""
    runtime_env: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""


class Dashboard:
    """Stands in for the client of Ray's Jobs API."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.submission_id: job for job in jobs}
        self.next_logs, self.next_status = [LOG], Status("FAILED")

    def list_jobs(self) -> list[Job]:
        return list(self.jobs.values())

    def get_job_info(self, job: str) -> Job:
        return self.jobs[job]

    def submit_job(
        self, *, submission_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: object
    ) -> str:
        recipe = Path(runtime_env["working_dir"], "recipe.toml").read_text()
        self.jobs[submission_id] = Job(
            submission_id,
            self.next_status,
            self.next_logs,
            entrypoint=entrypoint,
            runtime_env=runtime_env,
            recipe=recipe,
        )
        return submission_id

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        logs = self.jobs[job].logs
        text = logs.pop(0) if len(logs) > 1 else logs[0]
        for start in range(0, len(text), 7):  # pieces do not end where lines do
            yield text[start : start + 7]
        if len(logs) > 1 or text != logs[0]:
            raise ConnectionError("the dashboard went away")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Dashboard], Dashboard]:
    """Puts a dashboard at every address."""

    def put(dashboard: Dashboard) -> Dashboard:
        fake = types.ModuleType("ray.job_submission")
        fake.JobSubmissionClient = lambda address: dashboard  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ray.job_submission", fake)
        return dashboard

    monkeypatch.setattr(submit, "PAUSE_SECONDS", 0)
    return put


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("film")


def test_a_job_is_submitted_with_its_recipe_and_followed(connect: Any, recipe: Recipe) -> None:
    dashboard = connect(Dashboard())
    events: list[Event] = []
    summary = submit_job(DASHBOARD, "/m.csv", "s3://b/out", recipe, progress=events.append)
    assert summary == SUMMARY
    assert [event.sentence for event in events if event.kind == "note"][1:] == ["ray speaks"]
    assert EVENT in events
    (job,) = dashboard.jobs.values()
    assert job.entrypoint == (
        "archive-restore submit /m.csv --out s3://b/out --recipe recipe.toml --on-cluster --json"
    )
    assert job.recipe == recipe.to_toml()


def test_without_wait_the_job_is_left_running(connect: Any, recipe: Recipe) -> None:
    dashboard = connect(Dashboard())
    until = datetime(2026, 11, 23, 6, tzinfo=UTC)
    answer = submit_job(DASHBOARD, "m.csv", "out", recipe, stop=Stop(until), wait=False)
    ((name, job),) = dashboard.jobs.items()
    assert answer == {"job": name, "address": DASHBOARD, "exit_code": 0}
    assert "--until 2026-11-23T06:00:00+00:00" in job.entrypoint  # clocks may differ in their zone


def test_the_same_work_under_way_is_followed_not_started_twice(
    connect: Any, recipe: Recipe
) -> None:
    dashboard = connect(Dashboard())
    dashboard.next_status = Status("RUNNING")
    first = submit_job(DASHBOARD, "m.csv", "out", recipe, wait=False)
    again = submit_job(DASHBOARD, "m.csv", "out", recipe, wait=False)
    other = submit_job(DASHBOARD, "other.csv", "out", recipe, wait=False)
    assert first["job"] == again["job"] != other["job"]


def test_the_same_work_after_its_end_gets_a_new_id(connect: Any, recipe: Recipe) -> None:
    connect(Dashboard())
    first = submit_job(DASHBOARD, "m.csv", "out", recipe, wait=False)
    again = submit_job(DASHBOARD, "m.csv", "out", recipe, wait=False)
    assert str(first["job"]).endswith("-1")
    assert str(again["job"]) == str(first["job"])[:-1] + "2"


@pytest.mark.parametrize("broken_at", [0, 5, 11, 40, len(LOG) - 1])
def test_a_broken_connection_repeats_and_loses_no_line(connect: Any, broken_at: int) -> None:
    """A new connection sends the log from its beginning again."""
    dashboard = connect(Dashboard(Job("j", Status("FAILED"), [LOG[:broken_at], LOG])))
    events: list[Event] = []
    assert follow(dashboard, "j", events.append) == SUMMARY
    assert [event.sentence for event in events if event.kind == "note"] == ["ray speaks"]
    assert events.count(EVENT) == 1


def test_a_lost_cluster_is_given_up_with_a_next_step(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "RECONNECTS", 3)
    dashboard = connect(Dashboard(Job("j", Status("RUNNING"), ["", "", "", "", "", "", "never"])))
    with pytest.raises(ArchiveError, match="run the same command again") as caught:
        follow(dashboard, "j", lambda event: None)
    assert caught.value.exit_code == 1


def test_a_job_that_ends_without_a_summary_is_an_error(connect: Any) -> None:
    job = Job("j", Status("FAILED"), ["archive-restore: command not found\n"], "exit code 127")
    with pytest.raises(ArchiveError, match=r"job j ended as FAILED: exit code 127") as caught:
        follow(connect(Dashboard(job)), "j", lambda event: None)
    assert caught.value.exit_code == 1


def test_a_manifest_refused_on_the_cluster_keeps_its_faults_and_exit_code(connect: Any) -> None:
    refused = {"error": "1 fault", "exit_code": 2, "faults": [{"row": 3, "column": "clip_id"}]}
    job = Job("j", Status("FAILED"), [json.dumps(refused) + "\n"])
    with pytest.raises(JobRefused, match="1 fault") as caught:
        follow(connect(Dashboard(job)), "j", lambda event: None)
    assert (caught.value.exit_code, caught.value.faults) == (2, refused["faults"])


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379", "ray://head:10001"])
def test_an_address_that_is_no_dashboard_is_refused(address: str, recipe: Recipe) -> None:
    with pytest.raises(ArchiveError, match="http://HOST:8265"):
        submit_job(address, "m.csv", "out", recipe)


def test_a_token_that_is_missing_is_asked_for(
    connect: Any, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(Dashboard())

    def refuse(address: str) -> None:
        raise AuthenticationError("Unauthorized: Missing authentication token\n\nmore")

    client = sys.modules["ray.job_submission"]
    monkeypatch.setattr(client, "JobSubmissionClient", refuse)
    with pytest.raises(ArchiveError, match=r"Missing authentication token; .*RAY_AUTH_TOKEN"):
        submit_job(DASHBOARD, "/m.csv", "/out", recipe)


@pytest.mark.parametrize("kept", [True, False])
def test_a_token_at_hand_is_used(
    kept: bool, connect: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of Ray's Jobs API sends one only when it is told to."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if kept:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    connect(Dashboard())
    submit_job(DASHBOARD, "/m.csv", "/out", recipe, wait=False)
    assert os.environ.get("RAY_AUTH_MODE") == ("token" if kept else None)


def test_only_storage_access_and_our_settings_are_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store")
    monkeypatch.setenv("ARCHIVE_RESTORE_CACHE", "/cache")
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    names = passed_on().keys()
    assert {"AWS_ENDPOINT_URL", "ARCHIVE_RESTORE_CACHE"} <= names
    assert "DATABASE_PASSWORD" not in names


def test_unknown_fields_of_a_newer_program_are_passed_over() -> None:
    events: list[Event] = []
    LogFollower(events.append).feed('{"kind": "note", "sentence": "x", "colour": "blue"}\n')
    assert events == [Event(kind="note", sentence="x")]
