"""The command line: documented, one line for the user's mistakes, JSON that stays JSON."""

import io
import json
import shlex
import signal
import sys
import types
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.commands import doctor
from jobs.commands.status import describe_status, read_status
from jobs.console import output
from jobs.console.options import deadline
from jobs.pages.docs import commands
from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from pipeline.runs.stop import Stop
from pipeline.store import storage
from schemas.errors import ArchiveError
from schemas.recipe import Recipe, load_recipe
from schemas.recipe_book import RecipeBook

COMMANDS = commands()
SUMMARY = {
    "run": "20260101T000000-abcdef",
    "exit_code": 3,
    "clips": {"published": 2, "quarantined": 1, "failed": 0},
    "frames": 1234,
    "seconds": 100.0,
    "fps": 12.34,
    "out": "restored",
}


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Puts a function in the place of the flow."""

    def put(run: Callable[..., dict[str, Any]]) -> None:
        fake = types.ModuleType("pipeline.flow")
        fake.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pipeline.flow", fake)

    return put


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_one_sentence(name: str) -> None:
    first = COMMANDS[name].help.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 60, "the list of commands would cut it off"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_it_accepts(name: str) -> None:
    _, _, text = COMMANDS[name].help.partition("Example:")
    words, path = shlex.split(text), ["archive-restore", *name.split()]
    assert words[: len(path)] == path
    COMMANDS[name].make_context(name, words[len(path) :])  # raises for what is no option of it


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_a_command_line_that_makes_no_sense_ends_with_2() -> None:
    assert invoke("submit").exit_code == 2
    assert invoke("restore-everything").exit_code == 2


def test_version() -> None:
    assert invoke("--version").stdout == "archive-restore 0.1.0\n"


# Errors and exit codes


def test_a_mistake_of_the_users_is_one_line_and_exit_2() -> None:
    result = invoke("submit", "manifest.csv", "--out", "x", "--recipe", "nonesuch")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("archive-restore: no recipe 'nonesuch'")
    assert result.stderr.count("\n") == 1


def test_with_json_the_mistake_is_on_stdout_as_well() -> None:
    result = invoke("submit", "manifest.csv", "--out", "x", "--no-wait", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert "--no-wait needs --cluster" in json.loads(result.stdout)["error"]


def test_faults_of_a_manifest_are_all_told(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("clip_id,source_uri\na,x.mp4\na,y.mp4\n/b,z.mp4\n")
    result = invoke("validate", str(manifest), "--json")
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["faults"]) >= 2
    plain = invoke("validate", str(manifest))
    assert (plain.exit_code, plain.stdout) == (2, "")


def test_validate_accepts_a_good_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("clip_id,source_uri\na,x.mp4\nb,y.mp4\n")
    result = invoke("validate", str(manifest), "--json")
    assert (result.exit_code, json.loads(result.stdout)["rows"]) == (0, 2)


def test_our_own_defects_keep_their_traceback(flow: Any) -> None:
    def broken(*_: object, **__: object) -> dict[str, Any]:
        raise ZeroDivisionError

    flow(broken)
    result = invoke("submit", "m.csv", "--out", "x")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("stop", [signal.SIGTERM, 128 + signal.SIGTERM])
def test_terminated_ends_with_143_whoever_handles_the_signal(flow: Any, stop: int) -> None:
    """Ray's own handler leaves with the bare number of the signal."""

    def stopped(*_: object, **__: object) -> dict[str, Any]:
        raise SystemExit(stop)

    flow(stopped)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 143


def test_sigterm_is_handled_while_a_run_is_under_way(flow: Any) -> None:
    def killed(*_: object, **__: object) -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return SUMMARY

    flow(killed)
    before = signal.getsignal(signal.SIGTERM)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_stops_a_run_in_order_and_a_second_one_ends_it(flow: Any) -> None:
    """It is taken back from Ray, whose native handler would abort the process."""
    cancelled: list[bool] = []

    def killed(
        *_: object, stop: Stop, progress: Callable[[Event], None], **__: object
    ) -> dict[str, Any]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        progress(Event(kind="run", run="r", total=1))
        cancelled.append(stop.cancelled)
        signal.raise_signal(signal.SIGTERM)
        cancelled.append(stop.cancelled)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("still there")

    flow(killed)
    result = invoke("submit", "m.csv", "--out", "x")
    assert cancelled == [False, True]
    assert result.exit_code == 143
    assert "run it again to go on" in result.stderr


def test_sigterm_leaves_a_job_on_a_cluster_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: object, progress: Callable[[Event], None], **__: object) -> dict[str, Any]:
        progress(Event(kind="run", run="r", total=1))
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("still there")

    monkeypatch.setattr("jobs.cluster.submit.submit_job", follow)
    result = invoke("submit", "m.csv", "--out", "x", "--cluster", "http://head:8265")
    assert result.exit_code == 143


def test_interrupted_ends_with_130(flow: Any) -> None:
    def interrupted(*_: object, **__: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    flow(interrupted)
    assert invoke("submit", "m.csv", "--out", "x").exit_code == 130


# submit


def test_submit_hands_over_and_passes_the_exit_code_on(flow: Any) -> None:
    seen: dict[str, Any] = {}

    def run(manifest: str, out: str, book: RecipeBook, **more: Any) -> dict[str, Any]:
        seen.update(manifest=manifest, out=out, recipe=book.default, address=more["address"])
        return SUMMARY

    flow(run)
    result = invoke("submit", "m.csv", "--out", "restored")
    assert result.exit_code == 3
    assert seen == {
        "manifest": str(Path("m.csv").resolve()),  # workers have another working directory
        "out": str(Path("restored").resolve()),
        "recipe": load_recipe("film"),
        "address": None,
    }
    assert result.stdout.splitlines() == [
        "run 20260101T000000-abcdef: 2 published, 1 quarantined",
        "1234 frames in 1 min 40 s (12.34 frames/s)",
        "results in restored",
    ]


def test_what_a_stopped_run_has_left_is_told(flow: Any) -> None:
    flow(lambda *_, **__: SUMMARY | {"exit_code": 5, "left": 7})
    result = invoke("submit", "m.csv", "--out", "restored")
    assert result.exit_code == 5
    assert "stopped with 7 clips left: run it again to go on" in result.stdout


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("23:30", datetime(2026, 11, 22, 23, 30)),
        ("6:00", datetime(2026, 11, 23, 6)),
        ("22:00", datetime(2026, 11, 23, 22)),  # now: the next time
        ("2026-11-24T06:00", datetime(2026, 11, 24, 6)),
        ("2026-11-24T06:00+00:00", datetime(2026, 11, 24, 6, tzinfo=UTC)),
    ],
)
def test_until_is_the_next_time_of_the_clock_or_a_moment(text: str, end: datetime) -> None:
    assert deadline(text, now=datetime(2026, 11, 22, 22)) == end.astimezone()


@pytest.mark.parametrize("text", ["tonight", "24:00", "6:60", "2026-11-21T06:00", ""])
def test_until_is_never_a_guess(text: str) -> None:
    with pytest.raises(ArchiveError, match=f"--until {text}"):
        deadline(text, now=datetime(2026, 11, 22, 22))


def test_addresses_in_a_store_stay_as_they_are(flow: Any) -> None:
    seen: list[str] = []

    def run(manifest: str, out: str, *_: object, **__: object) -> dict[str, Any]:
        seen.extend((manifest, out))
        return SUMMARY

    flow(run)
    invoke("submit", "s3://b/m.csv", "--out", "s3://b/out")
    assert seen == ["s3://b/m.csv", "s3://b/out"]


def test_with_json_stdout_is_the_summary_whatever_libraries_print(flow: Any) -> None:
    def noisy(*_: object, progress: Callable[[Event], None], **__: object) -> dict[str, Any]:
        print("a library speaks")  # noqa: T201
        progress(Event(kind="clip", clip_id="a", state="published", done=1, total=3))
        return SUMMARY

    flow(noisy)
    result = invoke("submit", "m.csv", "--out", "restored", "--json")
    assert json.loads(result.stdout) == SUMMARY
    assert "a library speaks" in result.stderr
    event = json.loads(result.stderr.splitlines()[-1])
    assert (event["kind"], event["clip_id"], event["state"]) == ("clip", "a", "published")


def test_json_has_no_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"rows": [{"psnr": float("nan"), "at": Fraction(1, 3)}, (1, float("inf"))]})
    assert capsys.readouterr().out == '{"rows": [{"psnr": null, "at": "1/3"}, [1, null]]}\n'


# Query


def test_query_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(out: str, sql: str) -> pa.Table:
        asked.append((out, sql))
        return pa.table({"state": ["published"], "n": [2]})

    monkeypatch.setattr("jobs.console.query.query", ask)
    assert invoke("query", "SELECT 1", "--out", "o").stdout.splitlines() == [
        "state      n",
        "---------  -",
        "published  2",
    ]
    answer = invoke("query", "--view", "worst_clips", "--out", "o", "--json").stdout
    assert json.loads(answer) == [{"state": "published", "n": 2}]
    out = str(Path("o").resolve())
    assert asked == [(out, "SELECT 1"), (out, "SELECT * FROM worst_clips")]


@pytest.mark.parametrize("arguments", [[], ["SELECT 1", "--view", "worst_clips"]])
def test_query_wants_either_sql_or_a_view(arguments: list[str]) -> None:
    result = invoke("query", *arguments, "--out", "o")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "worst_clips" in result.stderr


def test_an_unknown_view_names_those_that_are() -> None:
    result = invoke("query", "--view", "nonesuch", "--out", "o")
    assert result.exit_code == 2
    assert "no view 'nonesuch'; there are: " in result.stderr


# Progress


def test_lines_tell_every_clip_and_speak_up_in_between() -> None:
    stream = io.StringIO()
    lines = output.Lines(stream, heartbeat=0)
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
    lines = output.Lines(stream, heartbeat=60)
    for shard in range(100):
        lines(Event(kind="shard", clip_id="a", shard=shard, frames=10, total=1))
    assert stream.getvalue() == ""


def test_the_time_left_counts_clips_to_come_at_the_mean_of_those_known() -> None:
    tally = output.Tally()
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
    tally = output.Tally()
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


def test_json_lines_name_the_run_they_belong_to() -> None:
    stream = io.StringIO()
    lines = output.JsonLines(stream)
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert output.clock(seconds) == text


def test_tables_align_and_let_no_control_character_through() -> None:
    text = output.table([{"clip": "a\x1b[31m\n", "n": 1}, {"clip": "longer", "n": 1234.5678}])
    assert text.splitlines() == [
        "clip       n",
        "------  ----",
        "a [31m     1",
        "longer  1235",
    ]
    assert output.table([]) == "(no rows)"


# status


@pytest.fixture
def unfinished(tmp_path: Path) -> Ledger:
    """A run of three clips: one published, two not begun."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("clip_id,source_uri\na,x.mp4\nb,y.mp4\nc,z.mp4\n")
    ledger = Ledger.open_or_resume(str(tmp_path), {"manifest_uri": str(manifest)})
    recipe = Recipe().to_toml().encode()
    storage.write_bytes(storage.join(ledger.uri, "recipe.toml"), recipe)
    ledger.commit_clip("a", {"clip_id": "a", "state": "published", "frames": 40})
    return ledger


def test_status_of_a_run_under_way(unfinished: Ledger) -> None:
    facts = read_status(unfinished.out)
    assert (facts["run"], facts["state"]) == (unfinished.run, "unfinished")
    assert facts["clips"] == {"published": 1, "at_work": 0, "waiting": 2}
    assert facts["frames"] == 40
    assert "1 published, 2 waiting; 40 frames restored" in describe_status(facts)


def test_status_of_a_finished_run_comes_from_its_summary(unfinished: Ledger) -> None:
    unfinished.finish(SUMMARY)
    result = invoke("status", unfinished.run, "--out", unfinished.out, "--json")
    facts = json.loads(result.stdout)
    assert (facts["state"], facts["exit_code"]) == ("finished", 3)
    assert facts["clips"] == {"published": 2, "quarantined": 1}


def test_status_where_there_is_no_run(tmp_path: Path, unfinished: Ledger) -> None:
    with pytest.raises(ArchiveError, match="there is no run"):
        read_status(str(tmp_path / "elsewhere"))
    with pytest.raises(ArchiveError, match=f"the newest is {unfinished.run}"):
        read_status(unfinished.out, "20200101T000000-000000")


# doctor


def test_doctor_finds_storage_as_needed_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert doctor.storage(str(out)).verdict == "ok"
    assert not out.exists()


def test_doctor_finds_a_store_that_ignores_the_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(uri: str, data: bytes) -> bool:
        storage.write_bytes(uri, data)
        return True

    monkeypatch.setattr(storage, "create", careless)
    check = doctor.storage(str(tmp_path))
    assert check.verdict == "fail"
    assert "8 of 8 exclusive writers won" in check.detail


def test_doctor_ends_with_1_where_something_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [doctor.Check("disk", "ok", "plenty"), doctor.Check("weights", "fail", "gone")]
    monkeypatch.setattr(doctor, "examine", lambda out: checks)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "fail  weights  gone"
    assert json.loads(invoke("doctor", "--json").stdout)["checks"][1]["verdict"] == "fail"


def test_a_broken_library_is_a_finding() -> None:
    def broken() -> doctor.Check:
        raise ImportError("libcudart.so.12: cannot open\nshared object file")

    check = doctor._guarded("accelerator", broken)
    assert (check.verdict, check.detail) == (
        "fail",
        "libcudart.so.12: cannot open shared object file",
    )
