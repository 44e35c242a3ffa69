"""The tables of the fleet's page."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.console.html import Html, Part, tag


def scrolling_table(
    label: str, heads: Sequence[str], rows: Sequence[Sequence[Part]], words: int = 1
) -> Html:
    """A table that scrolls in its own place; the first `words` columns hold words."""
    top = [tag("th", h, scope="col", class_="num" if n >= words else None)
           for n, h in enumerate(heads)]  # fmt: skip
    body = [
        tag("tr", tag("th", row[0], scope="row"),
            *(tag("td", cell, class_="num" if n >= words else None)
              for n, cell in enumerate(row[1:], 1)))
        for row in rows
    ]  # fmt: skip
    table = tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body))
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)
