"""Posts JSON to a webhook: a few tries, each with a timeout."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from schemas import strict_json
from schemas.errors import ArchiveError

POST_TRIES = 3
POST_TIMEOUT_SECONDS = 10.0
POST_PAUSE_SECONDS = 2.0  # before the second try; it doubles before each later one
RETRIED = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone at the next try


class NotDelivered(ArchiveError):
    """The webhook did not take the message. The text never names the address: it may be secret."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the webhook did not take the summary: {why}", exit_code=1)


def check(url: str) -> str:
    """Return the address. Raises ArchiveError if it is not http or https."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArchiveError("--webhook: give an http:// or https:// address")
    return url


def post(url: str, message: Mapping[str, object], pause: float = POST_PAUSE_SECONDS) -> None:
    """Deliver a message. Raises NotDelivered after the last try, or if no retry can help."""
    body = strict_json.dumps(message, default=str).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "archive-restore"}
    request = urllib.request.Request(check(url), body, headers, method="POST")
    for left in range(POST_TRIES - 1, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=POST_TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            why, again = f"it answers {error.code}", error.code in RETRIED
        except OSError as error:  # no connection, or no answer in time
            why, again = str(getattr(error, "reason", error)), True
        if not (left and again):
            raise NotDelivered(why)
        time.sleep(pause)
        pause *= 2
