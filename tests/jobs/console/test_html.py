"""HTML from function calls: everything is escaped, and only our style and script may run."""

import base64
import hashlib

from jobs.console.html import Html, page, tag
from tests.support.reports import Page


def test_only_our_own_style_and_script_may_run() -> None:
    text = page("title", "p{}", "let x = 1 < 2;", tag("p", "a < b"))
    policy = next(m["content"] for m in Page(text).all("meta") if "http-equiv" in m)
    assert policy is not None
    for inline in ("p{}", "let x = 1 < 2;"):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_tags_escape_what_is_not_markup() -> None:
    assert tag("p", "a & b", Html("<b>c</b>"), None) == "<p>a &amp; b<b>c</b></p>"
    assert tag("img", alt='"', src="a.jpg", hidden=True, class_=None) == (
        '<img alt="&quot;" src="a.jpg" hidden>'
    )
