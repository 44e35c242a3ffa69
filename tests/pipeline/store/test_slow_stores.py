"""Stores that accept a request and never answer, or send one byte after the other."""

import socketserver
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeline.store import s3_client, storage, timely
from schemas.errors import ClipFault
from schemas.reasons import Reason

HEADERS = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: "x"\r\n\r\n'


class _Slow(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        store: _Store = self.server  # type: ignore[assignment]
        while (line := self.rfile.readline()) and line != b"\r\n":
            store.asked = True
        try:
            if store.answers:
                self.wfile.write(HEADERS)
            while not store.over.wait(0.02):
                if store.answers:
                    self.wfile.write(b"x")
        except OSError:
            pass


class _Store(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    answers = asked = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Slow)
        self.over = threading.Event()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Store]:
    monkeypatch.setattr(s3_client, "READ_SECONDS", 0.3)
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    monkeypatch.setattr(timely, "START_SECONDS", 0.3)
    monkeypatch.setattr(timely, "SLOWEST", 1 << 30)
    with _Store() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("answers", [False, True], ids=["never answers", "trickles"])
@pytest.mark.parametrize("step", ["download", "read_bytes"])
def test_no_read_waits_for_ever(answers: bool, step: str, store: _Store, tmp_path: Path) -> None:
    store.answers = answers
    read = partial(storage.download, path=tmp_path / "a.mkv")
    with pytest.raises(ClipFault) as caught:
        (read if step == "download" else storage.read_bytes)("s3://archive/reel.mkv")
    assert caught.value.reason is Reason.STORE_ERROR and store.asked
    assert ("the store sent less" in caught.value.sentence) == answers
    assert list(tmp_path.iterdir()) == []


def test_an_answer_in_time_is_read_whole() -> None:
    class Raw:
        def __init__(self) -> None:
            self.left = [b"ab", b"c", b"defg", b""]

        def read1(self, amount: int) -> bytes:
            chunk = self.left.pop(0)
            self.left = [chunk[amount:], *self.left] if chunk[amount:] else self.left
            return chunk[:amount]

    stream = timely.Timely(Raw(), 7)
    assert (stream.read(4), stream.read(2), stream.read(9)) == (b"abcd", b"ef", b"g")
    assert timely.Timely(Raw(), 7).read() == b"abcdefg"
