"""HTML from function calls. Every text is escaped, unless a function here made it."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence


class Html(str):
    """Markup that is safe and must not be escaped again."""

    __slots__ = ()


Part = str | int | float | None
VOID = {"img", "input", "meta", "br", "link"}


def tag(name: str, *children: Part, **attributes: Part | bool) -> Html:
    """Return one element. ``class_`` and ``aria_label`` become ``class`` and ``aria-label``.

    An attribute that is None or False is left out. True writes the name alone.
    """
    parts = [
        f" {_name(key)}" if value is True else f' {_name(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    start = f"<{name}{''.join(parts)}>"
    return Html(start if name in VOID else f"{start}{join(children)}</{name}>")


def join(children: Sequence[Part]) -> Html:
    """Return siblings: text is escaped, markup is kept, None is left out."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def page(title: str, style: str, script: str, *body: Part) -> str:
    """Return a whole document that can load nothing but pictures and films beside it.

    The policy names style and script by their hashes, so injected markup cannot run.
    """
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        "media-src 'self' file:; "
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
