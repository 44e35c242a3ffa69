"""What the documents promise is so: generated pages are fresh, links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

from jobs.pages import docs
from tests.support.paths import ROOT

EXPERIMENTS = sorted((ROOT / "docs" / "experiments").glob("2*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_generated_pages_are_up_to_date() -> None:
    assert docs.stale() == []


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    for name, page in docs.PAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page(), encoding="utf-8")
    assert docs.stale(tmp_path) == []
    (tmp_path / "cli.md").write_text("# Commands\n")
    assert docs.stale(tmp_path) == ["cli.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{target} does not exist"


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
    assert "```sh\n" in text or not table
