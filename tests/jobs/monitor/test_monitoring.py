"""Metrics that Prometheus takes, in bounded number; rules and panels that use only those."""

import json
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from jobs import cli
from jobs.monitor.dashboard import ALERT_RULES, grafana_dashboard
from jobs.monitor.exporter import exporting, last_success
from jobs.monitor.metrics import METRIC_NAMES, METRICS, MOST_SERIES, SERIES, Figures
from pipeline.runs.events import Event
from pipeline.runs.measures import clip_measures, shard_measures
from schemas.errors import ArchiveError
from schemas.reasons import Reason
from tests.support.results import a_result, a_segment

OUT = "s3://films/restored"
TOOK = {"seconds_decode": 1.0, "seconds_model": 5.0, "seconds_encode": 2.0, "seconds_cpu": 9.0}
BASE_UNITS = ("seconds", "bytes")
OTHER_UNITS = ("milliseconds", "ms", "minutes", "hours", "kilobytes", "megabytes", "mb", "percent")


def samples(text: str) -> dict[str, float]:
    """Every series of an exposition, without the output."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("out") == OUT
            found[f"{sample.name}{sorted(sample.labels.values()) or ''}"] = sample.value
    return found


def exposed(figures: Figures) -> dict[str, float]:
    return samples(generate_latest(figures).decode())  # type: ignore[arg-type]


def told(figures: Figures, *events: Event) -> dict[str, float]:
    for event in events:
        figures.add(event)
    return exposed(figures)


def test_names_keep_the_rules_of_prometheus() -> None:
    """As `promtool check metrics` lints: base units last, `_total` on counters alone, a help."""
    assert len(set(METRIC_NAMES)) == len(METRIC_NAMES)
    for metric in METRICS:
        words = metric.name.removesuffix("_total").split("_")
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.kind not in words and not set(words) & set(OTHER_UNITS), metric.name
        assert not set(words[:-1]) & set(BASE_UNITS) or "per" in words, metric.name
        assert len(metric.help) > 10 and metric.help[-1] in ".;"


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_promtool_finds_nothing_to_say() -> None:
    text = generate_latest(Figures(OUT))  # type: ignore[arg-type]
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")
    rules = subprocess.run(["promtool", "check", "rules", ALERT_RULES], capture_output=True)
    assert rules.returncode == 0, rules.stdout


def test_the_number_of_series_does_not_grow_with_the_clips() -> None:
    figures = Figures(OUT)
    empty = told(figures, Event(kind="run", run="20261122T200000-abcdef", total=10_000))
    assert len(empty) == SERIES - 1  # nothing has succeeded yet
    states = ("published", "up_to_date", "untouched", "held", "quarantined", "failed")
    for number in range(10_000):
        reason = "" if number % 6 < 3 else list(Reason)[number % len(Reason)]
        event = Event(
            kind="clip", clip_id=f"clip-{number}", state=states[number % 6], reason=reason
        )
        figures.add(event)
    assert len(exposed(figures)) <= MOST_SERIES < 200


def test_figures_follow_a_run() -> None:
    found = told(
        Figures(OUT, last_success=1.0),
        Event(kind="clip", clip_id="before", state="published", frames=999, total=5),
        Event(kind="run", run="20261122T200000-abcdef", done=1, total=5),
        Event(kind="shard", clip_id="a", shard=0, frames=50, measures={**TOOK, "retries": 1}),
        Event(kind="shard", clip_id="b", shard=0, frames=10, measures=TOOK),
        Event(kind="clip", clip_id="a", state="published", frames=100, measures={
            **TOOK, "seconds_model": 11.0, "seconds_assemble": 3.0, "retries": 2, "bytes_in": 70,
            "bytes_out": 600}),
        Event(kind="clip", clip_id="c", state="quarantined", reason="TRUNCATED"),
    )  # fmt: skip
    expected = {
        "archive_restore_clips['', 'published']": 2,
        "archive_restore_clips['TRUNCATED', 'quarantined']": 1,
        "archive_restore_clips['', 'waiting']": 2,
        "archive_restore_clips['', 'up_to_date']": 0,
        "archive_restore_frames_total": 110,
        "archive_restore_stage_seconds_total['model']": 16,
        "archive_restore_stage_seconds_total['assemble']": 3,
        "archive_restore_cpu_seconds_total": 18,
        "archive_restore_retries_total": 2,
        "archive_restore_read_bytes_total": 70,
        "archive_restore_written_bytes_total": 600,
        "archive_restore_oldest_waiting_timestamp_seconds": 1795377600,  # of the run's id
        "archive_restore_exit_code": -1,
        "archive_restore_run_end_timestamp_seconds": 0,
        "archive_restore_last_success_timestamp_seconds": 1,
    }
    assert expected.items() <= found.items()


@pytest.mark.parametrize(("code", "success"), [(0, True), (3, True), (5, True), (1, False)])
def test_the_end_of_a_run(code: int, success: bool) -> None:
    figures = Figures(OUT)
    figures.end(code)
    found = exposed(figures)
    assert found["archive_restore_exit_code"] == code
    end = found["archive_restore_run_end_timestamp_seconds"]
    assert (found.get("archive_restore_last_success_timestamp_seconds") == end) is success


def test_the_numbers_of_an_event_come_from_the_records() -> None:
    segment = replace(a_segment(retries=2), **TOOK)
    figures = {**TOOK, "seconds_gpu": 0.0, "retries": 2}
    assert shard_measures(segment) == figures
    result = a_result(seconds_total=9.5, source_bytes=3, **figures)
    assert clip_measures(result)["seconds_assemble"] == 1.5
    assert clip_measures(result)["bytes_in"] == 3
    assert clip_measures(result.having(state="untouched")) == clip_measures(result)
    assert clip_measures(result.having(state="up_to_date")) == {}


# Where they are written


def events(of: Any) -> None:
    of(Event(kind="run", run="20261122T200000-abcdef", total=1))
    of(Event(kind="clip", clip_id="a", state="published", frames=9, done=1, total=1))


def test_the_text_file_is_there_at_the_begin_and_keeps_the_last_success(tmp_path: Path) -> None:
    file = tmp_path / "restored.prom"
    with exporting(OUT, file, None, lambda event: None) as watch:
        events(watch)
        assert samples(file.read_text())["archive_restore_exit_code"] == -1
        watch.end(0)
    found = samples(file.read_text())
    assert found["archive_restore_clips['', 'published']"] == 1
    success = found["archive_restore_last_success_timestamp_seconds"]
    assert last_success(file, OUT) == success > 0 == last_success(file, "s3://other")

    def terminated() -> None:
        with exporting(OUT, file, None, lambda event: None) as watch:
            events(watch)
            raise SystemExit(128 + signal.SIGTERM)

    with pytest.raises(SystemExit):
        terminated()
    found = samples(file.read_text())
    assert found["archive_restore_exit_code"] == 143
    assert found["archive_restore_last_success_timestamp_seconds"] == success
    assert [path.name for path in tmp_path.iterdir()] == ["restored.prom"]


def test_a_run_that_another_keeps_from_starting_leaves_its_figures_alone(tmp_path: Path) -> None:
    file = tmp_path / "restored.prom"
    file.write_text("its figures")
    with pytest.raises(ArchiveError), exporting(OUT, file, None, lambda event: None):
        raise ArchiveError("locked", exit_code=6)
    assert file.read_text() == "its figures"


def test_trouble_with_metrics_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    seen: list[Event] = []
    file = tmp_path / "nowhere" / "restored.prom"
    with exporting(OUT, file, None, seen.append) as watch:
        events(watch)
        watch.end(0)
    (log,) = (event for event in seen if event.kind == "log")
    assert "the metrics were not written" in log.sentence and len(seen) == 3


def test_the_name_must_be_one_that_node_exporter_reads(tmp_path: Path) -> None:
    arguments = ["submit", "m.csv", "--out", str(tmp_path), "--metrics-file", "metrics.txt"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2 and "reads only files named" in result.stderr


# Rules and dashboard

METRIC = re.compile(r"archive_restore_\w+")


def test_rules_use_metrics_that_there_are() -> None:
    (group,) = yaml.safe_load(CliRunner().invoke(cli.app, ["monitoring", "rules"]).stdout)["groups"]
    for rule in group["rules"]:
        used = METRIC.findall(rule["expr"])
        assert used and set(used) <= set(METRIC_NAMES), rule["alert"]
        assert rule["annotations"]["summary"] and rule["labels"]["severity"]
    told = " ".join(rule["annotations"]["summary"] for rule in group["rules"])
    for sentence in ("run did not finish", "No run succeeded for 36 h", "quarantine grew"):
        assert sentence in told


def test_rules_name_reasons_and_states_that_there_are() -> None:
    values = re.findall(r'(reason|state)=~"([^"]+)"', ALERT_RULES.read_text())
    states = {pair[0] for metric in METRICS if metric.name == "clips" for pair in metric.values}
    for label, names in values:
        assert set(names.split("|")) <= (set(Reason) if label == "reason" else states)


def test_panels_use_metrics_that_there_are_and_do_not_overlap() -> None:
    board = json.loads(CliRunner().invoke(cli.app, ["monitoring", "dashboard"]).stdout)
    assert board == grafana_dashboard()
    used = {name for p in board["panels"] for name in METRIC.findall(p["targets"][0]["expr"])}
    assert used <= set(METRIC_NAMES) and len(used) > 10
    cells = [
        (x, p["gridPos"]["y"])
        for p in board["panels"]
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


class Gateway(BaseHTTPRequestHandler):
    """A pushgateway that keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, body.decode()))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_pushgateway_gets_the_same_in_a_group_of_the_output() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.got = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with exporting(OUT, None, url, lambda event: None) as watch:
            events(watch)
            watch.end(3)
        server.shutdown()
    (first, begin), (_, end) = server.got  # type: ignore[attr-defined]
    assert first.startswith("/metrics/job/archive-restore/out@base64/")
    assert samples(begin)["archive_restore_exit_code"] == -1
    assert "archive_restore_last_success_timestamp_seconds{" not in begin  # the one there stays
    assert samples(end)["archive_restore_exit_code"] == 3
