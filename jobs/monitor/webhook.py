"""Posts JSON to a webhook: a few tries, each with a deadline.

The address may hold a secret, so no text that leaves this module may name it. Errors of libraries
often quote it. Therefore only known sentences are passed on, never the text of an error.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import urlsplit

from schemas import strict_json
from schemas.errors import ArchiveError

POST_TRIES = 3
POST_TIMEOUT_SECONDS = 10.0  # of one try, from the first byte sent to the head of the answer
POST_PAUSE_SECONDS = 2.0  # before the second try; it doubles before each later one
RETRIED = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone at the next try


class NotDelivered(ArchiveError):
    """The webhook did not take the message. The text never names the address: it may be secret."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the webhook did not take the summary: {why}", exit_code=1)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer that names another address is an error: the summary goes only where it should."""

    def redirect_request(self, *args: object) -> None:
        return None


def check(url: str) -> str:
    """Return the address. Raises ArchiveError if it is not http or https."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text quotes the address
        parts, port = urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise ArchiveError("--webhook: give an http:// or https:// address")
    return url


def post(url: str, message: Mapping[str, object], pause: float = POST_PAUSE_SECONDS) -> None:
    """Deliver a message. Raises NotDelivered after the last try, or if no retry can help."""
    body = strict_json.dumps(message, default=str).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "archive-restore"}
    request = urllib.request.Request(check(url), body, headers, method="POST")
    for left in range(POST_TRIES - 1, -1, -1):
        why, again = _within(POST_TIMEOUT_SECONDS, request)
        if not why:
            return
        if not (left and again):
            raise NotDelivered(why)
        time.sleep(pause)
        pause *= 2


def _within(seconds: float, request: urllib.request.Request) -> tuple[str, bool]:
    """Why the message was not taken, and whether to try again. An empty text: it was taken.

    A socket's timeout starts anew with each byte, so an answer that drips could last for ever. A
    thread waits for the answer, and nobody waits for the thread.
    """
    answer = [(f"no answer within {seconds:g} seconds", True)]

    def ask() -> None:
        answer[:] = [_ask(request, seconds)]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0]


def _ask(request: urllib.request.Request, seconds: float) -> tuple[str, bool]:
    try:  # the body of the answer is not read
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=seconds):
            return "", False
    except urllib.error.HTTPError as error:
        error.close()
        moved = ", a redirect: give the final address" if 300 <= error.code < 400 else ""
        return f"it answers {error.code}{moved}", error.code in RETRIED
    except ConnectionError as error:  # before HTTPException: RemoteDisconnected is both
        return _sentence(error), True
    except HTTPException:
        return "its answer is not HTTP", False
    except OSError as error:
        return _sentence(error.reason if isinstance(error, urllib.error.URLError) else error), True
    except Exception as error:  # no text: it may quote the address
        return type(error).__name__, False


def _sentence(error: object) -> str:
    """A known sentence for an error of the network."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or 'it does not speak TLS'}"
        case socket.gaierror():
            return "its name has no address"
        case TimeoutError():
            return "no answer in time"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return "no connection"
