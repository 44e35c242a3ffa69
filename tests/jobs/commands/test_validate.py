"""The command validate: every fault of a manifest at once."""

import json
from pathlib import Path

from tests.support.command_line import invoke


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


def test_an_unknown_column_is_a_warning(tmp_path: Path) -> None:
    manifest, out = tmp_path / "manifest.csv", str(tmp_path / "out")
    manifest.write_text("clip_id,source_uri,embargo_until,colour\na,gone.mkv,2999-01-01,red\n")
    sentence = "is not a column of the schema and is ignored"
    commands = (
        ["validate", str(manifest)],
        ["plan", str(manifest), "--out", out],
        ["submit", str(manifest), "--out", out, "--dry-run"],
        ["submit", str(manifest), "--out", out],
        ["triage", str(manifest)],
    )
    for command in commands:
        plain, result = invoke(*command), invoke(*command, "--json")
        assert f"warning: manifest, colour: {sentence}\n" in plain.stderr, command
        (warning,) = json.loads(result.stdout)["warnings"]
        assert (warning["column"], warning["sentence"]) == ("colour", sentence), command
