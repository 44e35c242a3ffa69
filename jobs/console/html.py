"""HTML from function calls: text is escaped unless it was made here, so nothing can forget to."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


Part = str | int | float | None
VOID = {"img", "input", "meta", "br", "link"}


def tag(name: str, *children: Part, **attributes: Part | bool) -> Html:
    """One element; ``class_`` and ``aria_label`` become ``class`` and ``aria-label``.

    Attributes that are None or False are left out, True stands alone.
    """
    given = [
        f" {_name(key)}" if value is True else f' {_name(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    start = f"<{name}{''.join(given)}>"
    return Html(start if name in VOID else f"{start}{join(children)}</{name}>")


def join(children: Sequence[Part]) -> Html:
    """Siblings; what is not markup yet is escaped, None is nothing."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def page(title: str, style: str, script: str, *body: Part) -> str:
    """A whole document that can load nothing but pictures beside it.

    Style and script are named by their hashes: markup that slipped in could not run.
    """
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"style-src {_source(style)}; script-src {_source(script)}"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
    )
    content = tag("body", *body, tag("script", Html(script)))
    return f"<!doctype html>\n{tag('html', head, content, lang='en')}\n"


def _escaped(child: Part) -> str:
    return child if isinstance(child, Html) else html.escape(str(child))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
