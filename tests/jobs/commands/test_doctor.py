"""The command doctor: exit code 1 for a failed check."""

import json

import pytest

from jobs.monitor import checks
from tests.support.command_line import invoke


def test_doctor_ends_with_1_where_something_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [checks.Check("disk", "ok", "plenty"), checks.Check("weights", "fail", "gone")]
    monkeypatch.setattr(checks, "examine", lambda out: found)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "fail  weights  gone"
    assert json.loads(invoke("doctor", "--json").stdout)["checks"][1]["verdict"] == "fail"
