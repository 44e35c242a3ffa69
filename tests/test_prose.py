"""Documents are written for people: short lines, words of the field, and links that work."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LONGEST_LINE = 120
DIALECT = (
    " told ", " tells ", " restraint", "patience", "loudness", "severity", " peers", "outlast",
    "as it is", "of those that", "what has ", "what is asked of", "there is none of",
    "taken for", " that much", " so many", "whatever became of",
    "speaks of", "in our words",
)  # fmt: skip
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

# one link, image or address, perhaps in a list: it cannot be folded
UNFOLDABLE = re.compile(r"[-*]?\s*(!?\[[^\]]*\]\([^)]*\)|<?https?://\S+>?)[.,;]?")

CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def outside_code(text: str) -> list[tuple[int, str]]:
    """Numbered lines outside code fences."""
    lines, in_code = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            lines.append((number, line))
    return lines


def long_lines(text: str) -> list[int]:
    """Numbers of the lines that are too long."""
    return [
        number
        for number, line in outside_code(text)
        if len(line) > LONGEST_LINE
        and not line.lstrip().startswith("|")
        and not UNFOLDABLE.fullmatch(line.strip())
    ]


def dialect(text: str) -> list[str]:
    """Words that we no longer use, with the number of their line; code is exempt."""
    found = []
    for number, line in outside_code(text.lower()):
        plain = f" {CODE.sub('', line)} "
        found += [f"{number}: {word.strip()}" for word in DIALECT if word in plain]
    return found


def faults(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [f"{number}: longer than {LONGEST_LINE}" for number in long_lines(text)] + dialect(text)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_is_plain(page: Path) -> None:
    assert faults(page) == []


def test_a_long_line_is_found() -> None:
    long = "word " * 30
    exempt = [f"| {long} |", f"![{long}](a.jpg)", f"- <https://example.org/{'a' * 120}>", "short"]
    text = "\n".join(chain(exempt, [long], ["```", long, "```"]))
    assert long_lines(text) == [len(exempt) + 1]


def test_a_word_of_the_dialect_is_found() -> None:
    assert dialect("plain\nwhere the change is Restraint") == ["2: restraint"]
    assert dialect("as the\nreader was told") == ["2: told"]
    assert dialect("the module `models/restraint.py` of that time") == []
    assert dialect("```\nlabels: {severity: critical}\n```") == []


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them: the second of equal ones ends in -1."""
    found: dict[str, int] = {}
    for _, line in outside_code(text):
        if heading := HEADING.match(line):
            plain = LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading[1])
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            count = found[slug] = found.get(slug, -1) + 1
            if count:
                found[f"{slug}-{count}"] = 0
    return set(found)


def broken_links(page: Path, text: str) -> list[str]:
    """The links that lead nowhere. Links to other sites are not looked at."""
    broken = []
    whole = "\n".join(line for _, line in outside_code(text))  # a link may be folded
    for link in LINK.findall(CODE.sub("", whole)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        found = target.exists()
        if found and anchor:
            found = anchor in anchors(target.read_text(encoding="utf-8"))
        if not found:
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Two `words`\n\n```\n# no heading\n```\n\n## Two words\n")
    text = (
        "[a](b.md) [folded\nlink](c.md) [b](b.md#two-words) [b](b.md#two-words-1) "
        "[b](b.md#no-heading) [self](#here) `[code](d.md)` [site](https://example.org/e.md)"
    )
    page = tmp_path / "a.md"
    page.write_text(f"# Here\n\n{text}\n")
    assert broken_links(page, page.read_text()) == ["c.md", "b.md#no-heading"]
