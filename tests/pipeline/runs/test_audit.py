"""The audit log: a later change is found, with the entry."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from pipeline.runs import audit
from pipeline.runs.audit import AuditLog, verify
from pipeline.runs.process import Process
from pipeline.store import layout, storage
from pipeline.store.storage import DIRECT
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode

pytest_plugins = ("tests.support.environment.s3",)

RUN = "20260101T000000-abcdef"


@pytest.fixture(autouse=True)
def small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FOLDER_ENTRIES", 3)


@pytest.fixture
def log(tmp_path: Path) -> str:
    """An output with five entries, in two folders."""
    return fill(str(tmp_path))


def fill(out: str) -> str:
    writer = AuditLog(out)
    writer.append("run_started", run=RUN, clips=2)
    writer.append("clip_published", run=RUN, clip_id="a", output_sha256="0" * 64)
    AuditLog(out).append(
        "clip_failed", run=RUN, clip_id="b", reason="DISK_FULL"
    )  # continues the log
    AuditLog(out).append("run_ended", run=RUN, exit_code=3)
    AuditLog(out).append("clip_retried", run=RUN, clip_id="b")
    return out


def uri(out: str, number: int) -> str:
    return layout.audit_entry(out, number, audit.FOLDER_ENTRIES)


def read(out: str, number: int) -> dict[str, Any]:
    return dict(json.loads(storage.read_bytes(uri(out, number))))


def write(out: str, number: int, entry: dict[str, Any]) -> None:
    storage.write_bytes(uri(out, number), json.dumps(entry, sort_keys=True).encode())


def test_entries_are_chained_and_name_user_and_time(store_root: str) -> None:
    assert verify(store_root) == audit.Verdict(0, audit.NONE)
    fill(store_root)
    entries = [read(store_root, number) for number in range(1, 6)]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    assert {entry["by"] for entry in entries} == {Process.here().actor}
    assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
    assert entries[0]["previous"] == audit.NONE
    assert [e["previous"] for e in entries[1:]] == [e["sha256"] for e in entries[:-1]]
    assert verify(store_root) == audit.Verdict(5, entries[-1]["sha256"])
    assert AuditLog(store_root).clips(RUN) == {"a", "b"}
    assert AuditLog(store_root).clips("20270101T000000-abcdef") == set()


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_changed_entry_is_named(log: str, number: int) -> None:
    write(log, number, read(log, number) | {"by": "nobody@nowhere"})
    verdict = verify(log)
    assert verdict.broken == uri(log, number)
    assert verdict.why is not None and "was changed" in verdict.why
    assert verdict.entries == number - 1


def test_a_replaced_entry_is_named(log: str) -> None:
    entry = read(log, 3) | {"reason": "TRUNCATED"}
    write(log, 3, entry | {"sha256": audit.digest(entry)})
    verdict = verify(log)
    assert verdict.broken == uri(log, 3)
    assert verdict.why is not None and "was replaced" in verdict.why


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_removed_entry_is_named(log: str, number: int) -> None:
    storage.delete(uri(log, number))
    assert (verify(log).broken, verify(log).why) == (uri(log, number), "is missing")


def test_a_file_that_is_not_an_entry_is_named(log: str) -> None:
    storage.write_bytes(uri(log, 4), b"{")
    assert verify(log).broken == uri(log, 4)
    stray = f"{log}/audit/000000/000000000.txt"
    storage.write_bytes(stray, b"")
    assert (verify(log).broken, verify(log).why) == (stray, "does not belong here")


def test_an_entry_without_a_chain_is_named(log: str) -> None:
    entry = {name: value for name, value in read(log, 3).items() if name != "previous"}
    write(log, 3, entry | {"sha256": audit.digest(entry)})
    assert verify(log).broken == uri(log, 3)


def test_a_shortened_log_lacks_a_known_head(log: str) -> None:
    head = verify(log).head
    assert verify(log, head).held
    assert verify(log, read(log, 2)["sha256"]).held
    storage.delete(uri(log, 5))
    assert verify(log).broken is None
    assert not verify(log, head).held


def test_the_second_of_two_writers_is_refused(log: str) -> None:
    first, second = AuditLog(log), AuditLog(log)
    first._head = second._head = audit._head(DIRECT, log)
    first.append("run_started", run=RUN)
    with pytest.raises(ArchiveError, match="another process writes"):
        second.append("run_started", run=RUN)
    assert verify(log).broken is None


def test_only_known_actions_are_written(log: str) -> None:
    with pytest.raises(ValueError, match="clip_up_to_date"):
        AuditLog(log).append("clip_up_to_date", run=RUN)
    assert verify(log).entries == 5


def test_the_command_names_the_first_broken_entry(log: str) -> None:
    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["audit", "verify", "--out", log, *arguments])

    head = verify(log).head
    assert (invoke().exit_code, invoke().stdout) == (0, f"5 entries unchanged; head {head}\n")
    assert invoke("--head", "f" * 64).exit_code == ExitCode.FAULTS
    write(log, 4, read(log, 4) | {"exit_code": 0})
    assert invoke().exit_code == ExitCode.FAULTS
    assert invoke().stdout.startswith(f"{uri(log, 4)} was changed")
    answer = json.loads(invoke("--json").stdout)
    assert (answer["broken"], answer["entries"], answer["exit_code"]) == (uri(log, 4), 3, 3)


def test_entries_that_wait_share_an_object(tmp_path: Path) -> None:
    out, writer = str(tmp_path), AuditLog(str(tmp_path))
    for clip in "abc":
        writer.note("clip_published", run=RUN, clip_id=clip)
    assert list(storage.listing(layout.audit(out))) == []
    writer.append("run_ended", run=RUN, exit_code=0)
    assert list(storage.listing(layout.audit(out))) == [uri(out, 1)]
    AuditLog(out).append("clip_retried", run=RUN, clip_id="a")
    assert list(storage.listing(layout.audit(out))) == [uri(out, 1), uri(out, 5)]
    assert AuditLog(out).clips(RUN) == {"a", "b", "c"}
    assert (verify(out).entries, verify(out).broken) == (5, None)
    data = storage.read_bytes(uri(out, 1))
    storage.write_bytes(uri(out, 1), data.replace(b'"clip_id": "b"', b'"clip_id": "x"'))
    found = verify(out)
    assert (found.entries, found.broken) == (1, uri(out, 1))


def test_the_hundredth_waiting_entry_is_written(tmp_path: Path) -> None:
    writer = AuditLog(str(tmp_path))
    for number in range(audit.GROUP + 1):
        writer.note("clip_published", run=RUN, clip_id=f"c{number}")
    assert verify(str(tmp_path)).entries == audit.GROUP
