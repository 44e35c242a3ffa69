"""Options that several commands share."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ArchiveError

SEEING = "ARCHIVE_RESTORE_TELL_"  # variables of whoever follows a run; a job does not get them
JSON = "archive_restore.json"  # key in the context: does this command print JSON?


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON] = value
    return value


def absolute(uri: str) -> str:
    """A path as workers and other machines see it, who do not share our working directory."""
    return uri if "://" in uri else str(Path(uri).resolve())


def deadline(text: str | None, now: datetime | None = None) -> datetime | None:
    """The next time that a clock here shows HH:MM, or the moment of an ISO date and time.

    Raises ArchiveError for what is neither, and for a moment that is over.
    """
    if text is None:
        return None
    now = now or datetime.now()
    try:
        if not re.fullmatch(r"\d{1,2}:\d\d", text):
            end = datetime.fromisoformat(text).astimezone()
        else:
            hour, minute = map(int, text.split(":"))
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            end = (today if today > now else today + timedelta(days=1)).astimezone()
    except ValueError:
        raise ArchiveError(
            f"--until {text}: give HH:MM, or a date and time such as 2026-11-23T06:00"
        ) from None
    if end <= now.astimezone():
        raise ArchiveError(f"--until {text} is over")
    return end


Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_remember_json,
        is_eager=True,
        help="Print the result as JSON on stdout; logs go to stderr.",
    ),
]
Out = Annotated[
    str,
    typer.Option(metavar="URI", callback=absolute, help="Output folder: a path or s3:// address."),
]
Manifest = Annotated[
    str,
    typer.Argument(callback=absolute, help="CSV, JSON Lines or Parquet; a path or s3://."),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", envvar=f"{SEEING}METRICS_FILE", help="Metrics for Prometheus: FILE.prom."
    ),
]
Pushgateway = Annotated[
    str | None,
    typer.Option(
        metavar="URL", envvar=f"{SEEING}PUSHGATEWAY", help="Push the metrics there as well."
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar=f"{SEEING}WEBHOOK", help="Post the summary there as JSON."),
]
Recipes = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="A folder of recipes by name or collection."),
]
GpuHours = Annotated[
    float | None,
    typer.Option(min=0, help="Begin nothing more when the GPUs were held for so many hours."),
]
CpuHours = Annotated[
    float | None,
    typer.Option(min=0, help="Begin nothing more when the cores were held for so many hours."),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Begin nothing more after HH:MM, or an ISO date and time; exit code 5 if clips wait.",
    ),
]
