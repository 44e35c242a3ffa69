"""What the documents promise is so: generated pages are fresh, experiments have a command."""

import re
import tomllib
from pathlib import Path

import pytest

from jobs.pages import docs
from tests.support.paths import ROOT

# numbers from outside of this repository's benchmarks, the only ones without a command
MEASURED_ELSEWHERE = ("2026-11-29-real-things-erased", "2026-11-29-trial-on-an-h200")
EXPERIMENTS = sorted((ROOT / "docs" / "experiments").glob("2*.md"))


def test_generated_pages_are_up_to_date() -> None:
    assert docs.stale() == []


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    for name, page in docs.PAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page(), encoding="utf-8")
    assert docs.stale(tmp_path) == []
    (tmp_path / "cli.md").write_text("# Commands\n")
    assert docs.stale(tmp_path) == ["cli.md"]


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert heading[1] == project["project"]["version"]


def test_the_readme_stays_readable() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_every_experiment_is_in_the_index_newest_first() -> None:
    index = (ROOT / "docs" / "experiments" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| (\S+) \| \[.+\]\((\S+)\) \| (?:not )?(?:kept|measured) \|", index, re.M
    )
    assert sorted(name for _, name in listed) == [path.name for path in EXPERIMENTS]
    assert all(name.startswith(date) for date, name in listed)
    assert [date for date, _ in listed] == sorted((date for date, _ in listed), reverse=True)


@pytest.mark.parametrize("page", EXPERIMENTS, ids=lambda p: p.stem)
def test_an_experiment_has_a_table_only_beside_a_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    table = ["Table"] if "\n|" in text else []
    assert headings == ["Question", "Change", "Command", *table, "Conclusion"]
    assert "```sh\n" in text or not table or page.stem in MEASURED_ELSEWHERE


@pytest.mark.parametrize("name", MEASURED_ELSEWHERE)
def test_numbers_without_a_command_say_so(name: str) -> None:
    text = (ROOT / "docs" / "experiments" / f"{name}.md").read_text(encoding="utf-8")
    command = text.partition("## Command\n")[2].partition("\n## ")[0]
    assert "no script was kept" in " ".join(command.split())
    assert "exception to the rule" in " ".join(command.split())
