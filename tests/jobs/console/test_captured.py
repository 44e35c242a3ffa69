"""The log for programs: JSON on every line, from every writer, with the ids of run and clip."""

import json
import subprocess
import sys

import pytest

from jobs.console.captured import CapturedLines
from pipeline.runs.events import Event

RUN = "20261122T200000-abcdef"
NOISY = f"""
import logging, os, subprocess, sys, warnings
from jobs.console import output
from jobs.console.progress import progress
from pipeline.runs.events import Event
with progress(True) as report:
    report(Event(kind="run", run="{RUN}", total=2))
    print("a print of a library")
    warnings.warn("a warning")
    logging.getLogger("x").warning("a logger")
    os.write(2, b"native \\xff code\\r\\nin two lines")
    subprocess.run(["sh", "-c", "echo a child process >&2"])
    report(Event(kind="clip", clip_id="a", state="failed", reason="STORE_ERROR", frames=3))
    sys.stderr.write("no end of line")
output.log("archive-restore: a mistake", as_json=True)
output.emit({{"run": "{RUN}"}})
"""


def test_every_line_is_json_whoever_wrote_it() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"run": RUN})
    lines = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert all({"time", "level", "kind"} <= line.keys() for line in lines)
    assert all(line["run"] == RUN for line in lines if line["kind"] != "error")
    (clip,) = (line for line in lines if line["kind"] == "clip")
    assert (clip["clip_id"], clip["level"], clip["frames"]) == ("a", "error", 3)
    said = "\n".join(line["sentence"] for line in lines if line["kind"] == "log")
    for words in ("a print of a library", "a warning", "a logger", "native", "in two lines",
                  "a child process", "no end of line"):  # fmt: skip
        assert words in said
    assert lines[-1]["sentence"] == "archive-restore: a mistake" and lines[-1]["level"] == "error"


def test_a_process_that_outlives_the_log_does_not_hold_it_up() -> None:
    script = (
        "import subprocess\nfrom jobs.console.progress import progress\n"
        "with progress(True):\n    child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.poll())\nchild.kill()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, "None\n")


def test_a_line_is_told_when_it_is_whole() -> None:
    told: list[Event] = []
    lines = CapturedLines(told.append)
    lines.write("half a ")
    assert told == []
    lines.write("line\n\n  \nnext")
    assert [(event.kind, event.level, event.sentence) for event in told] == [
        ("log", "warning", "half a line")
    ]


@pytest.mark.parametrize(
    ("state", "level"), [("published", "info"), ("held", "warning"), ("failed", "error")]
)
def test_the_level_of_a_clip_is_that_of_its_state(state: str, level: str) -> None:
    assert Event(kind="clip", clip_id="a", state=state).level == level
