"""How commands end after an error: a line on stderr, an exit code, and JSON for programs."""

from __future__ import annotations

import traceback
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from jobs.console import output
from jobs.console.options import JSON
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode


class Commands(TyperGroup):
    """Commands that end an expected error with one line on stderr and the error's exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer keeps the types of click private)
        try:
            return super().invoke(ctx)
        except ArchiveError as error:
            output.log(f"archive-restore: {error}", as_json=ctx.meta.get(JSON, False))
            if ctx.meta.get(JSON):
                faults = getattr(error, "faults", None)
                more = {"faults": faults} if faults else {}
                output.emit({"error": str(error), "exit_code": error.exit_code, **more})
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            text = "archive-restore: interrupted; finished work is kept. Run it again to continue."
            output.log(text, as_json=ctx.meta.get(JSON, False))
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except Exception as error:  # a defect: with --json, its traceback stays on one line
            if not ctx.meta.get(JSON) or isinstance(
                error, typer.Exit | typer.Abort | TyperException
            ):
                raise
            output.log(traceback.format_exc(), as_json=True)
            output.emit({"error": repr(error), "exit_code": ExitCode.FAILED})
            raise typer.Exit(ExitCode.FAILED) from None
