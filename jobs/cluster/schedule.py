"""A nightly `submit` for what starts things at night: systemd, cron or Kubernetes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobs.cluster import kuberay
from jobs.console import output
from jobs.console.options import Json, Manifest, Out
from schemas.errors import ArchiveError

app = typer.Typer(help="Write what runs the program every night.", no_args_is_help=True)

DRAIN_SECONDS = 1800  # from SIGTERM to the end: a shard, and the clips that it completes
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")  # of a Kubernetes object


@dataclass(frozen=True)
class Plan:
    """What to start, when, under which name."""

    name: str
    words: list[str]  # the command line, from `submit` on
    at: time
    program: str = "archive-restore"
    image: str | None = None
    zone: str | None = None
    workers: int = 2  # nodes of a Ray cluster beside its head
    gpus: int = 0  # of each

    @property
    def cron(self) -> str:
        """When, as a line of cron begins."""
        return f"{self.at.minute} {self.at.hour} * * *"

    @property
    def command(self) -> list[str]:
        return [self.program, *self.words]


def systemd(plan: Plan) -> dict[str, str]:
    """A service and its timer. A run that reaches its deadline has done what it should."""
    service = f"""\
[Unit]
Description=archive-restore, nightly: {plan.name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
EnvironmentFile=-/etc/{plan.name}.env
ExecStart={" ".join(map(_systemd_word, plan.command))}
SuccessExitStatus=5
# SIGTERM to the program alone: it drains, and its workers finish what they have begun
KillMode=mixed
TimeoutStopSec={DRAIN_SECONDS}
"""
    zone = f" {plan.zone}" if plan.zone else ""
    timer = f"""\
[Unit]
Description=archive-restore, nightly: {plan.name}

[Timer]
OnCalendar=*-*-* {plan.at:%H:%M}:00{zone}
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {f"{plan.name}.service": service, f"{plan.name}.timer": timer}


def cron(plan: Plan) -> dict[str, str]:
    """A line for `crontab -e`. The lease keeps a night that is still under way alone."""
    command = shlex.join(plan.command).replace("%", r"\%")
    zone = f"CRON_TZ={plan.zone}\n" if plan.zone else ""
    return {f"{plan.name}.crontab": f"{zone}{plan.cron} {command}\n"}


def kubernetes(plan: Plan) -> dict[str, str]:
    """A CronJob. Exit codes that another try would not change end the job at once."""
    if plan.image is None:
        raise ArchiveError("--target kubernetes needs --image: the image of the program")
    if local := [word for word in plan.words if word.startswith("/")]:
        raise ArchiveError(f"a pod does not see {local[0]}: give an s3:// address or a known name")
    quoted = json.dumps  # JSON is YAML
    zone = f"\n  timeZone: {quoted(plan.zone)}" if plan.zone else ""
    environment = [{"name": "TZ", "value": plan.zone}] if plan.zone else []
    text = f"""\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {plan.name}
spec:
  schedule: "{plan.cron}"{zone}
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 6
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes: {{"operator": "In", "values": [2, 3, 4, 5]}}
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: {DRAIN_SECONDS}
          containers:
            - name: archive-restore
              image: {quoted(plan.image)}
              command: {quoted(plan.command)}
              env: {quoted(environment)}
              envFrom: [{{"secretRef": {{"name": "archive-restore", "optional": true}}}}]
"""
    return {f"{plan.name}.yaml": text}


class Target(StrEnum):
    """What starts things at night."""

    SYSTEMD = "systemd"
    CRON = "cron"
    KUBERNETES = "kubernetes"
    RAYCRONJOB = "raycronjob"
    RAYJOB = "rayjob"


TARGETS: dict[Target, Callable[[Plan], dict[str, str]]] = {
    Target.SYSTEMD: systemd,
    Target.CRON: cron,
    Target.KUBERNETES: kubernetes,
    Target.RAYCRONJOB: kuberay.raycronjob,
    Target.RAYJOB: kuberay.rayjob,
}


@app.callback()
def main() -> None:
    """Write what runs the program every night."""


@app.command()
def render(
    manifest: Manifest,
    out: Out,
    target: Annotated[Target, typer.Option(help="What starts things at night.")],
    at: Annotated[str, typer.Option(metavar="HH:MM", help="When it starts.")] = "20:00",
    until: Annotated[str, typer.Option(metavar="HH:MM", help="When it drains.")] = "06:00",
    recipe: Annotated[str, typer.Option(help="A built-in recipe, or a TOML file.")] = "film",
    name: Annotated[str, typer.Option(help="Of the units or objects.")] = "archive-restore",
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone, such as Europe/Berlin.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Container image, for Kubernetes.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Ray workers, for KubeRay.")] = 2,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each worker, for KubeRay.")] = 0,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the files there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a nightly run for systemd, cron or Kubernetes.

    `kubernetes` runs in one pod; `raycronjob` and `rayjob` on a Ray cluster that KubeRay makes for
    each night. Nothing is installed or started. A night that is still under way is never joined by
    a second.

    \b
    Example:
        archive-restore schedule render s3://films/m.csv --out s3://films/restored --target systemd
    """
    if not _NAME.fullmatch(name):
        raise ArchiveError(f"--name {name}: give small letters, digits and -")
    recipe = str(Path(recipe).resolve()) if Path(recipe).is_file() else recipe
    words = ["submit", manifest, "--out", out, "--recipe", recipe, "--until", until]
    _clock("--until", until)
    program = _program() if target in (Target.SYSTEMD, Target.CRON) else Plan.program
    plan = Plan(name, words, _clock("--at", at), program, image, zone, workers, gpus)
    files = TARGETS[target](plan)
    if into is not None:
        _write(files, into)
    if as_json:
        output.emit({"files": files, "exit_code": 0})
    else:
        output.say("\n".join(f"# {file}\n{text}" for file, text in files.items()).rstrip())


def _program() -> str:
    """This very installation: what starts things at night knows no environment."""
    beside = Path(sys.executable).with_name("archive-restore")
    return str(beside) if beside.is_file() else shutil.which(beside.name) or beside.name


def _clock(option: str, text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if not found:
        raise ArchiveError(f"{option} {text}: give HH:MM")
    return time(int(found[1]), int(found[2]))


def _systemd_word(word: str) -> str:
    """A word of a command line as systemd reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped) else f'"{escaped}"'


def _write(files: dict[str, str], into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (into / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArchiveError(f"--into {into}: {error.strerror or error}") from error
