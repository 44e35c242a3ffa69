"""Posts JSON to a webhook: a few tries, each with an end."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from schemas.errors import ArchiveError

TRIES = 3
TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = 2.0  # before the second try, and twice as long before each further one
AGAIN = (408, 429, 500, 502, 503, 504)  # what may pass


class NotDelivered(ArchiveError):
    """The webhook did not take the message; the address, often a secret, is not told."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the webhook did not take the summary: {why}", exit_code=1)


def check(url: str) -> str:
    """The address itself. Raises ArchiveError for one that is not http or https."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArchiveError("--webhook: give an http:// or https:// address")
    return url


def post(url: str, message: Mapping[str, object], pause: float = PAUSE_SECONDS) -> None:
    """Deliver a message. Raises NotDelivered after the last try, or at once where none can help."""
    request = urllib.request.Request(
        check(url), json.dumps(message, default=str).encode(),
        {"Content-Type": "application/json", "User-Agent": "archive-restore"}, method="POST",
    )  # fmt: skip
    for left in range(TRIES - 1, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            why, again = f"it answers {error.code}", error.code in AGAIN
        except OSError as error:  # no connection, no answer in time
            why, again = str(getattr(error, "reason", error)), True
        if not (left and again):
            raise NotDelivered(why)
        time.sleep(pause)
        pause *= 2
