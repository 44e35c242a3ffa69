"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JSON = "archive_restore.json"  # key in the context: does this command print JSON?


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON] = value
    return value


def absolute(uri: str) -> str:
    """A path as workers and other machines see it, who do not share our working directory."""
    return uri if "://" in uri else str(Path(uri).resolve())


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
