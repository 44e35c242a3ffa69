"""What the doctor says of licences, tokens and room, as an operator would need it."""

from pathlib import Path

import pytest

from jobs.commands import doctor
from pipeline.media.segments import ffmpeg_licence


def test_the_licence_of_the_ffmpeg_in_use_is_its_own_word() -> None:
    version, licence = ffmpeg_licence()
    detail = doctor.decoder().detail
    assert version[0].isdigit() and version in detail
    assert "GPL" in licence and licence in detail


def test_a_token_is_found_where_ray_looks_and_must_be_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert doctor.token() == doctor.Check("token", "ok", doctor._NO_TOKEN)
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    assert doctor.token().verdict == "warn"
    file.chmod(0o600)
    assert doctor.token().verdict == "ok"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    assert doctor.token().verdict == "fail"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert doctor.token().verdict == "ok" and "secret" not in doctor.token().detail


def test_room_is_looked_at_where_results_will_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "DISK_WARN_GB", 1e9)
    checks = {check.name: check for check in doctor.examine(str(tmp_path / "a"))}
    assert checks["room"].verdict == "warn" and str(tmp_path) in checks["room"].detail
    assert {"decoder", "token", "storage", "disk"} <= checks.keys()
    assert not (tmp_path / "a").exists()
