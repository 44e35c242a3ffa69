"""Raise the walls around nothing, and say which are missing on this machine.

Entry point. Run as `python -m pipeline.media.child.rehearse REQUEST`; started by
`pipeline.media.sandbox`.
"""

from __future__ import annotations

from pipeline.media.child.runtime import Output, run_child
from pipeline.media.wire import END, Request


def rehearse(request: Request, output: Output) -> None:
    """Send {missing wall: why}."""
    output.send_json(END, {"missing": output.missing_walls})


if __name__ == "__main__":
    run_child(rehearse)
