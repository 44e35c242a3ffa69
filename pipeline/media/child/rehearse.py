"""Raise the walls around nothing, and say which are missing on this machine.

Started by `pipeline.media.sandbox`, as a job of `launch`.
"""

from __future__ import annotations

from pipeline.media.child.runtime import Output
from pipeline.media.wire import END, Request


def rehearse(request: Request, output: Output) -> None:
    """Send {missing wall: why}."""
    output.send_json(END, {"missing": output.missing_walls})


WORK = rehearse
