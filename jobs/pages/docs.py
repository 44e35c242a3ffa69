"""Writes the generated pages and plots of `docs/`; with --check, fails where one is out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

import schemas.docs
from jobs.cli import app
from jobs.console import output
from jobs.pages.formats import formats_markdown
from jobs.pages.monitoring import monitoring_markdown
from jobs.pages.results import results_markdown
from jobs.training import curves
from schemas.recipe import MODELS

ROOT = Path(__file__).resolve().parents[2]
DOCS, WEIGHTS = ROOT / "docs", ROOT / "models" / "weights"
INTRO = """# Commands

Generated from the program's own help (`make docs`); do not edit by hand.

Every command takes `--json`: the result is then one line of JSON on stdout, and logs go to stderr.

{exit_codes}
"""


def commands() -> dict[str, Any]:
    """Every command by its full name, in the order of the help: groups hold further ones."""
    found: dict[str, Any] = {}

    def walk(group: Any, prefix: str) -> None:  # noqa: ANN401 (the types of click are private)
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, f"{prefix}{name} ")
            else:
                found[prefix + name] = command

    walk(get_command(app), "")
    return found


def cli_markdown() -> str:
    """The page `docs/cli.md`: the help of every command."""
    parts = [INTRO.format(exit_codes=schemas.docs.exit_codes_table())]
    for name, command in commands().items():
        context = typer.Context(command, info_name=f"archive-restore {name}", terminal_width=96)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def curves_of(size: str) -> str:
    """The picture of how the shipped weights of a size were trained."""
    return curves.draw(WEIGHTS / f"{size}.log.jsonl")


PAGES: dict[str, Callable[[], str]] = {
    "benchmarks/README.md": results_markdown,
    "cli.md": cli_markdown,
    "formats.md": formats_markdown,
    "monitoring.md": monitoring_markdown,
    **schemas.docs.PAGES,
    **{f"images/training-{size}.svg": partial(curves_of, size) for size in MODELS},
}


def stale(folder: Path = DOCS) -> list[str]:
    """The generated pages that are missing or differ from what they are generated from."""
    paths = {name: folder / name for name in PAGES}
    return [
        name
        for name, path in paths.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != PAGES[name]()
    ]


def main() -> int:
    names = stale()
    if "--check" in sys.argv[1:]:
        for name in names:
            output.log(f"docs/{name} is not up to date: run `make docs`")
        return int(bool(names))
    for name in names:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        output.say(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
