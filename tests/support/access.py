"""Rules that a page keeps so that everybody can use it: names, labels, headings, contrast.

They are a part of the rules of axe-core, for machines without a browser.
"""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

VOID = {"img", "input", "meta", "br", "link", "hr", "source"}
FIELDS = ("input", "select", "textarea")
LEAST_CONTRAST = 4.5  # of text of any size (WCAG 2.2, 1.4.3)
# Colours of text, and what they stand on.
INKS = ("ink", "soft", "accent", "good", "bad", "warn", "calm", "before", "after")
GROUNDS = ("ground", "card", "wash")


@dataclass
class Element:
    """An element with its children; text is a child without a name."""

    name: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element | str] = field(default_factory=list)

    def inside(self) -> Iterator[Element]:
        """All elements below this one."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.inside()

    def around(self) -> Iterator[Element]:
        """The elements that hold this one, the nearest first."""
        if self.parent is not None:
            yield self.parent
            yield from self.parent.around()

    def words(self) -> str:
        """What a screen reader says of the element."""
        if self.attributes.get("aria-hidden") == "true":
            return ""
        if named := self.attributes.get("aria-label") or self.attributes.get("alt"):
            return named
        parts = (c if isinstance(c, str) else c.words() for c in self.children)
        return " ".join("".join(parts).split())


class Tree(html.parser.HTMLParser):
    """A page as a tree."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self._here = Element("", {}, None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs}, self._here)
        self._here.children.append(made)
        if tag not in VOID:
            self._here = made

    def handle_endtag(self, tag: str) -> None:
        assert self._here.name == tag, f"<{self._here.name}> is closed by </{tag}>"
        assert self._here.parent is not None
        self._here = self._here.parent

    def handle_data(self, data: str) -> None:
        self._here.children.append(data)


def faults(text: str) -> list[str]:
    """What is wrong with a page, as sentences."""
    all_of = list(Tree(text).root.inside())
    found = [*_of_the_page(all_of)]
    for element in all_of:
        shown = f"<{element.name} {element.attributes}>"
        found += [f"{fault}: {shown}" for fault in _of_an_element(element)]
    return found


def _of_the_page(all_of: list[Element]) -> Iterator[str]:
    names = [element.name for element in all_of]
    if not next(e for e in all_of if e.name == "html").attributes.get("lang"):
        yield "no language"
    for name in ("title", "main", "h1"):
        if names.count(name) != 1:
            yield f"{names.count(name)} elements {name}, not 1"
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    if any(b > a + 1 for a, b in zip([0, *levels], levels, strict=False)):
        yield f"a heading skips a level: {levels}"
    ids = [e.attributes["id"] for e in all_of if "id" in e.attributes]
    if twice := {name for name in ids if ids.count(name) > 1}:
        yield f"ids that are there twice: {twice}"
    inner = {h[1:] for e in all_of if (h := e.attributes.get("href", "")).startswith("#")}
    if lost := inner - set(ids):
        yield f"links to nowhere: {lost}"


def _of_an_element(element: Element) -> Iterator[str]:
    name, attributes = element.name, element.attributes
    if name == "img" and "alt" not in attributes:
        yield "no alternative text"
    if name in FIELDS and not attributes.get("aria-label"):
        label = next((holder for holder in element.around() if holder.name == "label"), None)
        if label is None or not label.words():
            yield "no label"
    if name in ("a", "button", "summary", "option", "th") and not element.words():
        yield "no name"
    if attributes.get("role") in ("img", "group", "region") and not attributes.get("aria-label"):
        yield "no name"
    yield from _of_a_structure(element)


def _of_a_structure(element: Element) -> Iterator[str]:
    if element.name == "th" and element.attributes.get("scope") not in ("col", "row"):
        yield "a heading of a table without its direction"
    if element.name == "table" and not any(inner.name == "th" for inner in element.inside()):
        yield "a table without headings"
    if element.name == "li" and next(element.around()).name not in ("ul", "ol"):
        yield "an entry without a list"
    if int(element.attributes.get("tabindex", 0)) > 0:
        yield "an order of its own"
    if "style" in element.attributes or any(key.startswith("on") for key in element.attributes):
        yield "a style or a script that the policy of the page forbids"


def contrasts(css: str) -> dict[tuple[str, str, str], float]:
    """The contrast of each colour of text on each ground, by scheme (light or dark)."""
    light, dark = re.findall(r":root\s*\{(.*?)\}", css, re.DOTALL)[:2]
    found = {}
    for scheme, block in (("light", light), ("dark", dark)):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for ink in INKS:
            for ground in GROUNDS:
                found[scheme, ink, ground] = contrast(colours[ink], colours[ground])
    return found


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2.2, 'contrast ratio')."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
