"""A nightly run: what is started, when, under which name, and by which scheduler."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from pathlib import Path

from schemas.errors import ArchiveError

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")  # of a Kubernetes object


class Scheduler(StrEnum):
    """A program that starts the nightly run."""

    SYSTEMD = "systemd"
    CRON = "cron"
    KUBERNETES = "kubernetes"
    RAYCRONJOB = "raycronjob"
    RAYJOB = "rayjob"


@dataclass(frozen=True)
class NightlyRun:
    """The command line of a nightly run, its start time, and where it runs."""

    name: str  # of the systemd units or Kubernetes objects
    words: list[str]  # the command line, from `submit` on
    at: time
    program: str = "archive-restore"
    image: str | None = None
    zone: str | None = None
    workers: int = 2  # nodes of a Ray cluster beside its head
    gpus: int = 0  # of each worker

    @property
    def cron(self) -> str:
        """The start time in the syntax of cron."""
        return f"{self.at.minute} {self.at.hour} * * *"

    @property
    def command(self) -> list[str]:
        return [self.program, *self.words]

    @property
    def image_for_pods(self) -> str:
        """The image of the pods.

        Raises ArchiveError if there is no image, or if the command line names a local path.
        """
        if self.image is None:
            raise ArchiveError("Kubernetes needs --image: the container image of archive-restore")
        if local := [word for word in self.words if word.startswith("/")]:
            raise ArchiveError(
                f"a pod cannot read {local[0]}: give an s3:// address or a built-in recipe"
            )
        return self.image


def check_name(name: str) -> None:
    """Raise ArchiveError for a name that Kubernetes would refuse."""
    if not _NAME.fullmatch(name):
        raise ArchiveError(f"--name {name}: give lowercase letters, digits and -")


def clock_time(option: str, text: str) -> time:
    """Return the time HH:MM. Raises ArchiveError, which names the option."""
    found = _CLOCK.fullmatch(text)
    if not found:
        raise ArchiveError(f"{option} {text}: give HH:MM")
    return time(int(found[1]), int(found[2]))


def installed_program() -> str:
    """Return the path of this installation: schedulers do not search our PATH."""
    beside = Path(sys.executable).with_name("archive-restore")
    return str(beside) if beside.is_file() else shutil.which(beside.name) or beside.name


def write_files(files: dict[str, str], into: Path) -> None:
    """Write the files into a folder, which is created. Raises ArchiveError."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (into / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArchiveError(f"--into {into}: {error.strerror or error}") from error
