"""A run on a Ray cluster: submitted through the Jobs API, its log followed to the end.

The job runs this program again on the head node, with `--on-cluster`. The cluster's machines need
the same version, and `archive-restore` on the PATH that Ray was started with. The two programs
exchange only the log: events and the summary, one JSON object per line.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shlex
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jobs.console.captured import Report
from jobs.console.options import DELIVERY_VARIABLES
from pipeline.runs.events import Event
from schemas.errors import ArchiveError
from schemas.recipe_book import RecipeBook, as_book

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from pipeline.runs.stop import Stop
    from schemas.recipe import Recipe

PASSED_ON = ("AWS_", "ARCHIVE_RESTORE_")  # prefixes of environment variables that the job needs
COMBINED = {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}  # the run adds its settings to those of the job
RECONNECTS = 30  # in a row without a new line: the dashboard may restart in between
PAUSE_SECONDS = 2.0  # between two attempts
AGENT_SECONDS = 120.0  # time for the agent of the head node to start
RECIPE_FILE, RECIPES_FOLDER = "recipe.toml", "recipes"

Summary = dict[str, object]


class JobRefused(ArchiveError):
    """The job on the cluster found a fault of the user, such as a fault of the manifest."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(str(summary["error"]), exit_code=cast(int, summary["exit_code"]))
        self.faults = summary.get("faults")


def submit_job(
    address: str,
    manifest: str,
    out: str,
    recipes: Recipe | RecipeBook,
    *,
    stop: Stop | None = None,
    max_review: int | None = None,
    wait: bool = True,
    progress: Report = lambda event: None,
) -> Summary:
    """Return the summary of the finished run or, without ``wait``, the job's id at once.

    Manifest and output are addresses that the cluster's machines can read. If the same run is at
    work already, follow it: it is not started twice, and it keeps its deadline.
    """
    client, book = _connect(address), as_book(recipes)
    job = _running(client, _base_id(manifest, out, book))
    if job is None:
        job = _start(client, manifest, out, book, _limits(stop, max_review))
    progress(Event(kind="note", sentence=f"job {job} on {address}"))
    if not wait:
        return {"job": job, "address": address, "exit_code": 0}
    return follow(client, job, progress)


def _connect(address: str) -> JobSubmissionClient:
    if not address.startswith(("http://", "https://")):
        raise ArchiveError(
            f"--cluster {address}: give the address of Ray's dashboard, http://HOST:8265"
        )
    if _has_token():  # ray.init and `ray start` do this; the client of the Jobs API does not
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard_sdk", "job.sdk"):  # hide messages about uploads and closed sockets
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        hint = "set RAY_AUTH_TOKEN to the cluster's token, or RAY_AUTH_TOKEN_PATH to its file"
        raise ArchiveError(f"--cluster {address}: {_reason(error)}; {hint}") from error
    except (ConnectionError, RuntimeError) as error:
        raise ArchiveError(f"--cluster {address}: {_reason(error)}", exit_code=1) from error


def _has_token() -> bool:
    """Return whether a token lies where Ray looks for it."""
    in_environment = any(map(os.environ.get, ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")))
    return in_environment or Path.home().joinpath(".ray", "auth_token").is_file()


def _reason(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), repr(error))


def _base_id(manifest: str, out: str, book: RecipeBook) -> str:
    """Return an id that depends on the work only, so that a running job is found again."""
    identity = json.dumps([manifest, out, book.digest])
    return f"archive-restore-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _running(client: JobSubmissionClient, base: str) -> str | None:
    """Return the id of the job that does this work already; None if there is none."""
    for job in client.list_jobs():
        name = job.submission_id or ""
        if name.rpartition("-")[0] == base and not job.status.is_terminal():
            return name
    return None


def _start(
    client: JobSubmissionClient,
    manifest: str,
    out: str,
    book: RecipeBook,
    limits: list[str],
) -> str:
    """Submit the job and return its id. Its working directory holds the recipes and nothing else.

    Ray puts that directory first on the import path of every worker. So no package in the user's
    directory can replace one of ours.
    """
    base = _base_id(manifest, out, book)
    taken = {job.submission_id or "" for job in client.list_jobs()}
    number = 1 + sum(name.rpartition("-")[0] == base for name in taken)
    words = ["archive-restore", "submit", manifest, "--out", out, "--recipe", RECIPE_FILE]
    words += limits
    words += ["--recipes", RECIPES_FOLDER] if book.named else []
    with tempfile.TemporaryDirectory(prefix="archive-restore-") as folder:
        _write_recipes(Path(folder), book)
        submit = partial(
            client.submit_job,
            entrypoint=shlex.join([*words, "--on-cluster", "--json"]),
            submission_id=f"{base}-{number}",
            runtime_env={"working_dir": folder, "env_vars": {**passed_on(), **COMBINED}},
            metadata={"manifest": manifest, "out": out, "recipe": book.digest},
        )
        return _submitted(submit)


def _limits(stop: Stop | None, max_review: int | None) -> list[str]:
    """Return the options that give the job the limits of this command."""
    until = stop.until if stop else None
    limits = {
        "--until": until.isoformat() if until else None,
        "--max-gpu-hours": stop.max_gpu_hours if stop else None,
        "--max-cpu-hours": stop.max_cpu_hours if stop else None,
        "--max-review": max_review,
    }
    options = [(name, str(value)) for name, value in limits.items() if value is not None]
    return [word for option in options for word in option]


def _write_recipes(folder: Path, book: RecipeBook) -> None:
    files = {RECIPE_FILE: book.default.to_toml()}
    if book.named:
        Path(folder, RECIPES_FOLDER).mkdir()
        files |= {f"{RECIPES_FOLDER}/{name}": text for name, text in book.files()}
    for name, text in files.items():
        Path(folder, name).write_text(text, encoding="utf-8")


def _submitted(submit: Callable[[], str]) -> str:
    """Return the job's id. Retry while the head node has no agent yet, just after its start."""
    until = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            return submit()
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > until:
                raise ArchiveError(
                    f"the cluster refused the job: {_reason(error)}", exit_code=1
                ) from error
            time.sleep(PAUSE_SECONDS)


def passed_on() -> dict[str, str]:
    """Return the environment variables that the job gets: storage access and our settings."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {name: value for name, value in kept.items() if not name.startswith(DELIVERY_VARIABLES)}


class LogFollower:
    """Reads the log of a job: passes events and other lines to ``progress``, keeps the summary."""

    def __init__(self, progress: Report) -> None:
        self._progress = progress
        self._partial = ""
        self.lines = 0
        self.summary: Summary | None = None

    def feed(self, text: str, skip: int = 0) -> int:
        """Read a piece of the log without its first ``skip`` lines; return the lines skipped."""
        *whole, self._partial = (self._partial + text).split("\n")
        fresh = whole[skip:]
        for line in fresh:
            self._line(line)
        self.lines += len(fresh)
        return len(whole) - len(fresh)

    def restart(self) -> None:
        """Forget a partial line: the log is about to be sent again from its beginning."""
        self._partial = ""

    def _line(self, line: str) -> None:
        value = None
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                value = json.loads(line)
        if isinstance(value, dict) and "kind" in value:
            known = {k: v for k, v in value.items() if k in Event.__dataclass_fields__}
            self._progress(Event(**known))
        elif isinstance(value, dict) and "exit_code" in value:
            self.summary = cast(Summary, value)
        elif line.strip() and "[state-dump]" not in line:  # printed by a Ray process when it dies
            self._progress(Event(kind="note", sentence=line))


def follow(client: JobSubmissionClient, job: str, progress: Report) -> Summary:
    """Return the job's summary at its end. Raises ArchiveError if it ended without one."""
    from aiohttp import ClientError

    follower = LogFollower(progress)
    failures = 0
    while True:
        before = follower.lines
        try:
            asyncio.run(_tail(client, job, follower))
            info = client.get_job_info(job)
        except (OSError, RuntimeError, ClientError) as error:
            failures = 0 if follower.lines > before else failures + 1
            if failures > RECONNECTS:
                raise ArchiveError(
                    f"lost the connection while following job {job}: {_reason(error)}; "
                    "the job may still run: run the same command again to follow it",
                    exit_code=1,
                ) from error
        else:
            if info.status.is_terminal():
                return _outcome(job, str(info.status), info.message or "", follower)
        time.sleep(PAUSE_SECONDS)


async def _tail(client: JobSubmissionClient, job: str, follower: LogFollower) -> None:
    """Follow the log from its beginning; skip the lines of an earlier connection."""
    follower.restart()
    skip = follower.lines
    async for text in client.tail_job_logs(job):
        skip -= follower.feed(text, skip)


def _outcome(job: str, status: str, message: str, follower: LogFollower) -> Summary:
    summary = follower.summary
    if summary is None:
        raise ArchiveError(f"job {job} ended as {status}: {message}", exit_code=1)
    if "error" in summary:
        raise JobRefused(summary)
    return summary
