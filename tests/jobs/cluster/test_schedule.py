"""Nightly runs as systemd, cron and Kubernetes take them: read back by their own rules."""

import json
import shlex
import shutil
import subprocess
from datetime import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.cluster import schedule
from jobs.cluster.nightly import NightlyRun
from jobs.pages.docs import commands

WORDS = ["submit", "/films/tape 7 100% $new.csv", "--out", '/films/"restored"', "--until", "06:00"]
RUN = NightlyRun("nightly", WORDS, time(20, 5), program="/usr/bin/env")


KUBERNETES = ("--target", "kubernetes", "--image", "i")


def render(*arguments: str) -> Any:
    return CliRunner().invoke(
        cli.app, ["schedule", "render", "s3://b/m.csv", "--out", "s3://b/out", *arguments]
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    paths = []
    for name, text in schedule.systemd(RUN).items():
        (tmp_path / name).write_text(text)
        paths.append(str(tmp_path / name))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_service_drains_and_takes_the_deadline_for_success() -> None:
    files = schedule.systemd(RUN)
    service = files["nightly.service"].splitlines()
    (start,) = (line for line in service if line.startswith("ExecStart="))
    plain = start.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$")
    assert shlex.split(plain) == RUN.command
    environment = "EnvironmentFile=-/etc/nightly.env"
    assert {"KillMode=mixed", "SuccessExitStatus=5", environment} <= set(service)
    assert "OnCalendar=*-*-* 20:05:00" in files["nightly.timer"].splitlines()


def test_cron_gets_one_line_with_its_percent_signs_escaped() -> None:
    (line,) = schedule.cron(RUN)["nightly.crontab"].splitlines()
    minute, hour, *rest = line.split(" ", 5)
    assert (minute, hour, rest[:3]) == ("5", "20", ["*", "*", "*"])
    assert shlex.split(rest[3].replace(r"\%", "%")) == RUN.command


def test_kubernetes_gets_a_cron_job_that_never_overlaps() -> None:
    result = render("--target", "kubernetes", "--image", "registry/ar:1", "--zone", "Europe/Berlin")
    (document,) = yaml.safe_load_all(result.stdout)
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    spec = document["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 20 * * *", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3, 4, 5]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["env"] == [{"name": "TZ", "value": "Europe/Berlin"}]
    words = ["archive-restore", "submit", "s3://b/m.csv", "--out", "s3://b/out"]
    assert container["command"] == [*words, "--recipe", "film", "--until", "06:00"]


@pytest.mark.parametrize("target", ["systemd", "cron"])
def test_what_is_started_is_a_submit_that_the_program_takes(target: str) -> None:
    shown = render("--target", target, "--max-review", "7", "--json")
    texts = json.loads(shown.stdout)["files"].values()
    (line,) = (line for text in texts for line in text.splitlines() if " submit " in line)
    words = shlex.split(line.partition("/")[2])
    assert words[0].endswith("bin/archive-restore")  # of this installation, by its whole path
    taken = commands()["submit"].make_context("submit", words[words.index("submit") + 1 :])
    expected = {"manifest": "s3://b/m.csv", "out": "s3://b/out", "recipe": "film", "until": "06:00"}
    assert {**expected, "max_review": 7}.items() <= taken.params.items()


def test_files_are_written_where_asked(tmp_path: Path) -> None:
    assert render("--target", "systemd", "--name", "tapes", "--into", str(tmp_path)).exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tapes.service", "tapes.timer"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "kubernetes"], "needs --image"),
        (["--target", "cron", "--at", "25:00"], "--at 25:00: give HH:MM"),
        (["--target", "cron", "--until", "late"], "--until late: give HH:MM"),
        (["--target", "systemd", "--name", "a b"], "--name a b"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    result = render(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_pod_sees_no_path_of_this_machine(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli.app,
        ["schedule", "render", str(tmp_path / "m.csv"), "--out", "s3://b/out", *KUBERNETES],
    )
    assert result.exit_code == 2
    assert "give an s3:// address" in result.stderr


def test_a_folder_is_made_and_one_that_cannot_be_is_an_error_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "units"
    assert render("--target", "systemd", "--into", str(folder)).exit_code == 0
    assert len(list(folder.iterdir())) == 2
    (tmp_path / "file").write_text("")
    result = render("--target", "cron", "--into", str(tmp_path / "file"))
    assert result.exit_code == 2 and "File exists" in result.stderr
