"""The page of results says what the data say, and no number gets in without its command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.pages import docs, results, results_data
from schemas.errors import ArchiveError

WHERE = {"date": "2026-12-01", "commit": "abc1234", "machine": "one core", "command": "evaluate"}
BENCH = """| Measure | Value | Aim |
|---|---:|---|
| bare model, 2 processes, 352x288 | 15.36 frames/s | |
| pipeline / bare model, steady | 1.08 | 0.85 or more |
| pipeline, CPU-seconds a frame | 0.214 | |
"""


def score(method: str = "ours base", psnr: float = 28.5, **more: object) -> dict[str, object]:
    """A row of the data."""
    family = method.split()[0] if method.startswith(("ours", "identity")) else "filter"
    row = {"kind": "score", **WHERE, "damage": "film", "max_side": None, "clips": 2, "frames": 24}
    row |= {"seed": 0, "method": method, "family": family, "strength": None}
    row |= {"weights": "12345678" if family == "ours" else None}
    row |= {"psnr_db": psnr, "psnr_low": psnr - 1, "psnr_high": psnr + 1}
    return row | {"gain_db": psnr - 20, "gain_low": psnr - 21, "gain_high": psnr - 19} | more


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """What `archive-restore evaluate --out` leaves, as far as it is read."""

    def found(method: str, family: str, psnr: float) -> dict[str, object]:
        row = {"preset": "film", "method": method, "family": family, "strength": None, "clips": 1}
        row |= {"psnr_db": psnr, "psnr_low_db": psnr, "psnr_high_db": psnr, "vmaf": None}
        row |= {"gain_db": psnr - 20, "gain_low_db": psnr - 20, "gain_high_db": psnr - 20}
        return row | {"td": 12.3456789, "cpu_s_per_frame": 0.1}

    rows = [found("identity", "identity", 20.0), found("nlmeans", "filter", 22.0)]
    rows.append(found("ours", "ours", 25.0))
    asked = {"frames": 6, "seed": 1, "max_side": 320, "presets": ["film"]}
    asked |= {"clips": ["a.mp4"], "model": {"sizes": ["base"], "steps": 1}}
    clips = [{"clip": "a", "preset": "film", "method": "ours", "psnr_db": 25.0}]
    folder = tmp_path / "evaluation"
    folder.mkdir()
    text = json.dumps({"asked": asked, "rows": rows, "clips": clips})
    (folder / "evaluation.json").write_text(text)
    return folder


def test_the_page_is_that_of_the_data() -> None:
    text = (docs.DOCS / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert text == results.page(results_data.read()) == docs.PAGES["benchmarks/README.md"]()


def test_every_row_of_the_data_has_its_command() -> None:
    rows = results_data.read()
    commands = {row["command"].split(" FOLDER")[0] for row in rows}
    assert commands == {"archive-restore evaluate", "make bench"}
    assert all(row["weights"] for row in rows if row.get("family") == "ours")


@pytest.mark.parametrize("name", ["command", "commit", "machine", "psnr_db"])
@pytest.mark.parametrize("value", ["", None])
def test_a_row_without_its_command_is_refused(tmp_path: Path, name: str, value: str | None) -> None:
    data = tmp_path / "results.jsonl"
    rows = [score(), score("nlmeans", 22.0, **{name: value})]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ArchiveError, match=rf"results.jsonl line 2: no {name}; a number without"):
        results_data.read(data)


def test_an_unknown_kind_of_row_is_refused() -> None:
    with pytest.raises(ArchiveError, match="line 1: kind is 'guess'"):
        results_data.checked({"kind": "guess"}, "line 1")


def test_the_newest_result_of_each_method_is_shown_and_the_older_ones_over_time() -> None:
    old = score("ours base", 27.0, date="2026-11-01", commit="0000000", weights="87654321")
    text = results.page([old, score("identity", 20.0), score("nlmeans", 22.0), score()])
    newest, over_time = text.split("## Over time")
    assert "28.50 (27.50 to 29.50)" in newest
    assert "27.00" not in newest
    assert "PSNR above it: `ours base` +6.50 dB." in newest
    assert over_time.index("| 12345678 | 28.50 |") < over_time.index("| 87654321 | 27.00 |")


def test_scores_of_another_setting_are_in_italics() -> None:
    old = score("ours base", 27.0, frames=12, weights="87654321")
    assert "| 87654321 | *27.00* |" in results.page([old, score()])


def test_an_evaluation_is_added_by_a_command(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "results.jsonl"
    monkeypatch.setattr(results_data, "add", with_data(results_data.add, data))
    asked = ["add", str(evaluated), "--commit", "abc1234", "--machine", "one core"]
    done = CliRunner().invoke(results.app, asked)
    assert done.exit_code == 0, done.output
    identity, nlmeans, ours = results_data.read(data)
    assert (identity["method"], nlmeans["weights"], ours["method"]) == (
        "identity",
        None,
        "ours base",
    )
    assert ours["weights"] == results_data.shipped("base")[:8]
    assert (ours["commit"], ours["machine"]) == ("abc1234", "one core")
    assert ours["command"] == (
        "archive-restore evaluate FOLDER --damage film --frames 6 --seed 1 --max-side 320"
        " --method nlmeans --method ours --size base"
    )
    assert (ours["psnr_db"], ours["gain_low"], ours["temporal_error"]) == (25.0, 5.0, 12.3457)
    assert "vmaf" not in ours
    assert ours["psnr_by_clip"] == {"a": 25.0}
    assert "at most 320 pixels, 6 frames of 1 clips" in results.page(results_data.read(data))


def with_data(function, data: Path):  # noqa: ANN001, ANN201
    """The function, on other data than the project's."""
    return lambda *args, **options: function(*args, **options, data=data)


def test_what_is_in_the_data_is_not_added_again(evaluated: Path, tmp_path: Path) -> None:
    data = tmp_path / "results.jsonl"
    results_data.add(evaluated, "abc1234", "one core", date="2026-12-01", data=data)
    with pytest.raises(ArchiveError, match=r"in results\.jsonl already"):
        results_data.add(evaluated, "abc1234", "one core", date="2026-12-01", data=data)
    assert len(data.read_text().splitlines()) == 3


def test_an_evaluation_without_a_commit_or_a_folder_is_refused(
    evaluated: Path, tmp_path: Path
) -> None:
    data = tmp_path / "results.jsonl"
    with pytest.raises(ArchiveError, match="no commit; a number without it is not kept"):
        results_data.add(evaluated, "", "one core", date="2026-12-01", data=data)
    with pytest.raises(ArchiveError, match="name the --out folder of archive-restore evaluate"):
        results_data.add(tmp_path / "none", "abc1234", "one core", date="2026-12-01", data=data)
    assert not data.exists()


def test_a_bench_is_added(tmp_path: Path) -> None:
    data = tmp_path / "results.jsonl"
    rows = results_data.add_bench(BENCH, "abc1234", "one core", date="2026-12-01", data=data)
    assert [(row["value"], row["unit"], row["aim"]) for row in rows] == [
        (15.36, "frames/s", None),
        (1.08, "ratio", "0.85 or more"),
        (0.214, "CPU-seconds a frame", None),
    ]
    assert "| pipeline / bare model, steady | ratio | 0.85 or more | 1.08 |" in results.page(rows)
    with pytest.raises(ArchiveError, match="no table of `make bench`"):
        results_data.add_bench("nothing", "abc1234", "one core", date="2026-12-01", data=data)
