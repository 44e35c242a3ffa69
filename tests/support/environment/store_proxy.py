"""A proxy before an S3 server that answers some requests as a failing store does.

The rules are by name. A request whose address holds a name gets that rule's answer. Besides, a
share of all requests fails: with an error, without an answer, or with half of one.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

LATE_SECONDS = 2.0
HICCUPS = 2  # requests that fail before the first that works
# name -> status and code of the answer
ERRORS = {
    "denied": (403, "AccessDenied"),
    "cold": (403, "InvalidObjectState"),
    "failing": (500, "InternalError"),
    "throttled": (503, "SlowDown"),
    "full": (507, "InsufficientStorage"),
    "hiccup": (500, "InternalError"),
}
ONLY = {"cold": "GET", "full": "PUT", "halves": "GET", "wrong": "GET"}  # requests of this kind
ANSWERS = (*ERRORS, "late", "halves", "wrong")
# what a share of all requests meets
WEATHER = ("failing", "throttled", "late", "lost", "halves")
_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Proxy:
    """A running proxy. `seen` counts what requests met."""

    endpoint: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)  # part of an address -> answer
    share: float = 0.0  # of requests that meet the weather
    rng: random.Random = field(default_factory=random.Random)
    seen: Counter[str] = field(default_factory=Counter)
    times: Counter[str] = field(default_factory=Counter)
    turns: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str) -> str:
        """The name of the answer to a request; empty for the server's own."""
        for part, name in self.rules.items():
            if part in path:
                return self._by_rule(name, part, method)
        with self.turns:
            met = self.rng.choice(WEATHER) if self.rng.random() < self.share else ""
            self.seen.update([met] if met else [])
        return met

    def _by_rule(self, name: str, part: str, method: str) -> str:
        with self.turns:
            self.times[part] += 1
            self.seen[f"planted {name}"] += 1
            if name == "hiccup" and self.times[part] > HICCUPS:
                return ""
        return name if method == ONLY.get(name, method) else ""


@contextmanager
def proxied(server: str, proxy: Proxy) -> Iterator[Proxy]:
    """Run a proxy before a server, by the server's endpoint."""
    upstream = urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

        def do_any(self) -> None:
            try:
                _pass_on(self, upstream, proxy.answer(self.command, self.path))
            except (OSError, http.client.HTTPException):  # the server is down, or the client gone
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: Any) -> None:
            """Say nothing of clients that were killed."""

    with Server(("127.0.0.1", 0), Handler) as running:
        proxy.endpoint = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            running.shutdown()
            thread.join()


def _pass_on(handler: BaseHTTPRequestHandler, upstream: str, answer: str) -> None:
    size = int(handler.headers.get("Content-Length") or 0)
    body = handler.rfile.read(size) if size else b""
    if answer in ERRORS:
        _refuse(handler, *ERRORS[answer])
        return
    if answer == "late":
        time.sleep(LATE_SECONDS)
    connection = http.client.HTTPConnection(upstream, timeout=60)
    try:
        connection.putrequest(handler.command, handler.path, skip_host=True,
                              skip_accept_encoding=True)  # fmt: skip
        for name, value in handler.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body)
        found = connection.getresponse()
        data = found.read()
    finally:
        connection.close()
    if answer == "lost":  # the server has done it, and nobody hears of it
        handler.close_connection = True
        return
    _send(handler, found, data, answer)


def _send(
    handler: BaseHTTPRequestHandler, found: http.client.HTTPResponse, data: bytes, answer: str
) -> None:
    if answer == "wrong" and data:
        data = data[:-1] + bytes([data[-1] ^ 1])
    handler.send_response(found.status)
    for name, value in found.getheaders():
        if name.lower() not in _HOP:
            handler.send_header(name, value)
    if found.getheader("Content-Length") is None:
        handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if answer == "halves" and data:
        handler.wfile.write(data[: len(data) // 2])
        handler.close_connection = True
        return
    if handler.command != "HEAD":
        handler.wfile.write(data)


def _refuse(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
    text = f"<Error><Code>{code}</Code><Message>planted</Message></Error>".encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/xml")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(text)
