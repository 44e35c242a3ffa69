"""Options that several commands share.

Every command declares its parameters in the same order: positional arguments, `--out`, the
command's own options, selection and limits, delivery (metrics, webhook), and `--json` last.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ArchiveError

# Prefix of the environment variables that deliver news of a run. A cluster job does not get them.
DELIVERY_VARIABLES = "ARCHIVE_RESTORE_TELL_"
JSON = "archive_restore.json"  # key in typer's context: does this command print JSON?


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON] = value
    return value


def absolute(uri: str) -> str:
    """Return an absolute path or an unchanged URI: workers have another working directory."""
    return uri if "://" in uri else str(Path(uri).resolve())


def deadline(text: str | None, now: datetime | None = None) -> datetime | None:
    """Return the next time that a local clock shows HH:MM, or the moment of an ISO date and time.

    Raises ArchiveError for any other text, and for a moment that is over.
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
        raise ArchiveError(f"--until {text} is over: give a later time")
    return end


# Positional arguments

Manifest = Annotated[
    str,
    typer.Argument(
        callback=absolute, help="CSV, JSON Lines or Parquet file: a path or s3:// address."
    ),
]

# Places

Out = Annotated[
    str,
    typer.Option(metavar="URI", callback=absolute, help="Output folder: a path or s3:// address."),
]

# Recipes

RecipeName = Annotated[str, typer.Option(help="A built-in recipe, or a TOML file.")]
Recipes = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder of recipes, found by name or collection."),
]

# Evaluation

Damage = Annotated[
    list[str] | None,
    typer.Option(help="Damage preset that ages the clean clips; repeatable; default film."),
]
Frames = Annotated[int, typer.Option(help="Frames used of each clip.")]
MaxSide = Annotated[
    int | None,
    typer.Option(help="Longest side of a picture in pixels; larger ones are downscaled."),
]
ClipsAtOnce = Annotated[int, typer.Option(help="Number of clips processed at the same time.")]

# Limits

Until = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Start no new work after HH:MM, or an ISO date and time; exit code 5 if clips wait.",
    ),
]
GpuHours = Annotated[
    float | None, typer.Option(min=0, help="Start no new work after this many GPU-hours.")
]
CpuHours = Annotated[
    float | None, typer.Option(min=0, help="Start no new work after this many core-hours.")
]

# Delivery

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar=f"{DELIVERY_VARIABLES}METRICS_FILE",
        help="Write metrics for Prometheus to this file; its name ends in .prom.",
    ),
]
Pushgateway = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar=f"{DELIVERY_VARIABLES}PUSHGATEWAY",
        help="Push the metrics to this Prometheus pushgateway.",
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar=f"{DELIVERY_VARIABLES}WEBHOOK",
        help="Post the summary to this address as JSON.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_remember_json,
        is_eager=True,
        help="Print the result as JSON on stdout; logs go to stderr.",
    ),
]
