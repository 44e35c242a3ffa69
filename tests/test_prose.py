"""Documents are written for people: short lines, and no words of our own where there is a term."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LONGEST_LINE = 120
DIALECT = (
    " told ", "tells of", "restraint", "patience", "loudness", "as it is", "of those that",
    "what has ", "outlast",
)  # fmt: skip
# Pages that are not clean yet; the last one that is mended empties this.
PENDING: set[str] = {
    "docs/cluster.md",
    "docs/damage.md",
    "docs/films.md",
    "docs/formats.md",
    "docs/metrics.md",
    "docs/model.md",
    "docs/monitoring.md",
    "docs/operations.md",
    "docs/provenance.md",
    "docs/reason-codes.md",
    "docs/tables.md",
    "docs/training-data.md",
}

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

# one link, image or address, perhaps in a list: it cannot be folded
UNFOLDABLE = re.compile(r"[-*]?\s*(!?\[[^\]]*\]\([^)]*\)|<?https?://\S+>?)[.,;]?")

CODE = re.compile(r"`[^`]*`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> list[tuple[int, str]]:
    """Numbered lines outside code fences, without tables."""
    lines, in_code = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.lstrip().startswith("|"):
            lines.append((number, line))
    return lines


def long_lines(text: str) -> list[int]:
    """Numbers of the lines that are too long."""
    return [
        number
        for number, line in prose(text)
        if len(line) > LONGEST_LINE and not UNFOLDABLE.fullmatch(line.strip())
    ]


def dialect(text: str) -> list[str]:
    """Words that we no longer use, with the number of their line; names in `code` are exempt."""
    found = []
    for number, line in enumerate(text.lower().splitlines(), start=1):
        plain = f" {CODE.sub('', line)} "
        found += [f"{number}: {word.strip()}" for word in DIALECT if word in plain]
    return found


def faults(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [f"{number}: longer than {LONGEST_LINE}" for number in long_lines(text)] + dialect(text)


@pytest.mark.parametrize("page", [p for p in PAGES if name_of(p) not in PENDING], ids=name_of)
def test_prose_is_plain(page: Path) -> None:
    assert faults(page) == []


@pytest.mark.parametrize("name", sorted(PENDING))
def test_pages_that_are_clean_are_not_pending(name: str) -> None:
    assert not (ROOT / name).exists() or faults(ROOT / name) != []


def test_a_long_line_is_found() -> None:
    long = "word " * 30
    exempt = [f"| {long} |", f"![{long}](a.jpg)", f"- <https://example.org/{'a' * 120}>", "short"]
    text = "\n".join(chain(exempt, [long], ["```", long, "```"]))
    assert long_lines(text) == [len(exempt) + 1]


def test_a_word_of_the_dialect_is_found() -> None:
    assert dialect("plain\nwhere the change is Restraint") == ["2: restraint"]
    assert dialect("as the\nreader was told") == ["2: told"]
    assert dialect("the module `models/restraint.py` of that time") == []
