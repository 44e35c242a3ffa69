"""Progress: lines, JSON lines, and the time left."""

import io
import json

import pytest

from jobs.console.progress import JsonProgress, PlainProgress, ProgressCount, StepLines
from pipeline.runs.events import Event


def test_lines_tell_every_clip_and_speak_up_in_between() -> None:
    stream = io.StringIO()
    lines = PlainProgress(stream, heartbeat=0)
    lines(Event(kind="run", sentence="run r", total=2))
    lines(Event(kind="survey", clip_id="a", frames=100, total=2))
    lines(Event(kind="shard", clip_id="a", shard=0, frames=50, total=2))
    lines(Event(kind="clip", clip_id="a", state="published", frames=100, seconds=61, done=1))
    lines(
        Event(
            kind="clip",
            clip_id="b",
            state="quarantined",
            reason="TRUNCATED",
            sentence="20 of 50\nframes",
            done=2,
            total=2,
        )
    )
    told = stream.getvalue().splitlines()
    assert told[0] == "run r"
    assert told[2].startswith("0 of 2 clips, 50 of 200 frames, ")
    assert told[3] == "published   a  100 frames  1 min 01 s"
    assert told[4] == "[2/2] quarantined b  TRUNCATED: 20 of 50 frames"


def test_lines_keep_quiet_between_heartbeats() -> None:
    stream = io.StringIO()
    lines = PlainProgress(stream, heartbeat=60)
    for shard in range(100):
        lines(Event(kind="shard", clip_id="a", shard=shard, frames=10, total=1))
    assert stream.getvalue() == ""


def test_the_time_left_counts_clips_to_come_at_the_mean_of_those_known() -> None:
    tally = ProgressCount()
    tally.add(Event(kind="run", total=4))
    tally.started -= 10
    assert tally.remaining_seconds is None
    tally.add(Event(kind="survey", clip_id="a", frames=100))
    tally.add(Event(kind="survey", clip_id="b", frames=300))
    tally.add(Event(kind="shard", clip_id="a", shard=0, frames=100))
    assert tally.expected == 800
    assert tally.remaining_seconds == pytest.approx(70, rel=0.05)


def test_the_time_left_counts_what_ended_whichever_way() -> None:
    """No survey is told, and a clip's last shard has no event of its own."""
    tally = ProgressCount()
    tally.add(Event(kind="clip", clip_id="before", state="published", frames=999, done=1, total=5))
    tally.add(Event(kind="run", done=1, total=5))
    tally.add(Event(kind="shard", clip_id="a", shard=0, frames=60))
    tally.add(Event(kind="clip", clip_id="a", state="published", frames=100, done=2))
    tally.add(Event(kind="clip", clip_id="b", state="up_to_date", frames=100, done=3))
    tally.add(Event(kind="clip", clip_id="c", state="quarantined", done=4))
    assert (tally.restored, tally.expected) == (100, 200)
    tally.add(Event(kind="shard", clip_id="d", shard=0, frames=20))
    assert (tally.restored, tally.expected) == (120, 200)
    tally.add(Event(kind="shard", clip_id="d", shard=1, frames=120))
    assert (tally.restored, tally.expected) == (240, 240)
    tally.add(Event(kind="clip", clip_id="e", state="untouched", frames=50, done=5))
    assert tally.restored == 290


def test_json_lines_name_the_run_they_belong_to() -> None:
    stream = io.StringIO()
    lines = JsonProgress(stream)
    lines(Event(kind="run", run="r", total=1))
    lines(Event(kind="clip", clip_id="a", state="published"))
    assert [json.loads(line)["run"] for line in stream.getvalue().splitlines()] == ["r", "r"]


def test_a_json_line_holds_the_first_shard() -> None:
    assert Event(kind="shard", clip_id="a", shard=0, frames=2).to_dict() == {
        "kind": "shard",
        "clip_id": "a",
        "shard": 0,
        "frames": 2,
    }


def test_steps_of_a_command_come_at_a_measured_pace() -> None:
    stream, log = io.StringIO(), io.StringIO()
    steps = StepLines(stream=stream, pause=60)
    steps("clip 1 of 9: a\nb")
    steps("clip 2 of 9: c")
    steps.begin("reading the tables")
    assert stream.getvalue() == "clip 1 of 9: a b\nreading the tables\n"
    StepLines(True, log)("clip 1 of 9: a")
    assert json.loads(log.getvalue())["sentence"] == "clip 1 of 9: a"
