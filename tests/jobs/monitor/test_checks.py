"""Checks of a machine and a place for output: licences, tokens, storage and free space."""

from pathlib import Path

import pytest

from jobs.monitor import checks
from pipeline.media.segments import ffmpeg_licence
from pipeline.store import storage


def test_doctor_finds_storage_as_needed_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert checks.storage(str(out)).verdict == "ok"
    assert not out.exists()


def test_doctor_finds_a_store_that_ignores_the_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(uri: str, data: bytes) -> bool:
        storage.write_bytes(uri, data)
        return True

    monkeypatch.setattr(storage, "create", careless)
    check = checks.storage(str(tmp_path))
    assert check.verdict == "fail"
    assert "8 of 8 exclusive writers succeeded" in check.detail


def test_a_broken_library_is_a_finding() -> None:
    def broken() -> checks.Check:
        raise ImportError("libcudart.so.12: cannot open\nshared object file")

    check = checks._guarded("accelerator", broken)
    assert (check.verdict, check.detail) == (
        "fail",
        "libcudart.so.12: cannot open shared object file",
    )


def test_the_licence_of_the_ffmpeg_in_use_is_its_own_word() -> None:
    version, licence = ffmpeg_licence()
    detail = checks.decoder().detail
    assert version[0].isdigit() and version in detail
    assert "GPL" in licence and licence in detail


def test_a_token_is_found_where_ray_looks_and_must_be_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert checks.token() == checks.Check("token", "ok", checks._NO_TOKEN)
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    assert checks.token().verdict == "warn"
    file.chmod(0o600)
    assert checks.token().verdict == "ok"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    assert checks.token().verdict == "fail"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert checks.token().verdict == "ok" and "secret" not in checks.token().detail


def test_room_is_looked_at_where_results_will_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "DISK_WARN_GB", 1e9)
    found = {check.name: check for check in checks.examine(str(tmp_path / "a"))}
    assert found["room"].verdict == "warn" and str(tmp_path) in found["room"].detail
    assert {"decoder", "token", "storage", "disk"} <= found.keys()
    assert not (tmp_path / "a").exists()
