"""The summary of a night: counts first, what is new, what was known; delivered or given up."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.monitor import summary, webhook
from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from pipeline.runs.quarantine import Case
from pipeline.store import storage
from schemas.errors import ArchiveError

TEXT = """\
1450 of 1500 clips ready
1400 up to date, 50 published, 48 quarantined, 2 failed
run {run}: finished, exit code 3; 1234 frames in 1 min 40 s

New, 2:
  new-0  TRUNCATED: <20> of 50 frames Next: Fetch it again.
  new-1  STORE_ERROR: <20> of 50 frames Next: Fetch it again.

Known from earlier runs: 1 NOT_FOUND

Report: {out}/report/index.html
All cases: archive-restore quarantine list --out {out}"""


@pytest.fixture
def finished(tmp_path: Path) -> Ledger:
    """A night with two new faults and a known one."""
    ledger = Ledger.open_or_resume(str(tmp_path), {"manifest_uri": "m.csv"})
    ledger.finish({
        "run": ledger.run, "exit_code": 3, "frames": 1234, "seconds": 100.0, "fps": 12.34,
        "clips": {"published": 50, "up_to_date": 1400, "quarantined": 48, "failed": 2},
    })  # fmt: skip
    row = {"sentence": "<20> of 50\nframes", "next_step": "Fetch it again.", "state": "quarantined"}
    known = {"clip_id": "known", "run": ledger.run, "reason": "NOT_FOUND", **row}
    case = Case(known, "", "2026-11-20", "20261120T200000-abcdef", 3)
    write(ledger, case)
    for number, reason in enumerate(("TRUNCATED", "STORE_ERROR")):
        new = row | {"clip_id": f"new-{number}", "reason": reason, "run": ledger.run}
        write(ledger, replace(case, row=new, since_run=ledger.run, runs=1))
    storage.write_bytes(f"{tmp_path}/report/index.html", b"")
    return ledger


def write(ledger: Ledger, case: Case) -> None:
    storage.write_bytes(f"{ledger.out}/quarantine/{case.clip}.json", case.to_json())


def asked(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["summary", *arguments])


def test_the_text_word_by_word(finished: Ledger) -> None:
    text = asked("--out", finished.out).stdout
    expected = TEXT.format(run=finished.run, out=finished.out)
    assert text.splitlines() == expected.splitlines()


def test_html_says_the_same_and_escapes_it(finished: Ledger) -> None:
    text = asked("--out", finished.out, "--format", "html").stdout
    assert "<h1>1450 of 1500 clips ready</h1>" in text
    assert "<li><b>new-0</b> TRUNCATED: &lt;20&gt; of 50 frames Next: Fetch it again.</li>" in text
    assert "<script" not in text and "<img" not in text


def test_json_has_the_facts(finished: Ledger) -> None:
    facts = json.loads(asked("--out", finished.out, "--json").stdout)
    assert (facts["ready"], facts["total"], facts["exit_code"]) == (1450, 1500, 3)
    assert [case["clip_id"] for case in facts["new"]] == ["new-0", "new-1"]
    assert facts["known"] == {"NOT_FOUND": 1}


def test_many_new_faults_are_counted_after_the_first(finished: Ledger) -> None:
    facts = summary.read_summary(finished.out)
    facts["new"] = [facts["new"][0] | {"clip_id": f"c{n}"} for n in range(50)]
    lines = summary.describe(facts).splitlines()
    assert "New, 50:" in lines and "  and 30 more" in lines
    assert sum(line.startswith("  c") for line in lines) == 20


class Receiver(ThreadingHTTPServer):
    """A webhook on loopback, which answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_webhook_gets_text_and_facts(finished: Ledger, receiver: Receiver) -> None:
    result = asked("--out", finished.out, "--webhook", receiver.url)
    assert result.exit_code == 0
    (got,) = receiver.got
    assert got["text"] == result.stdout.rstrip("\n")
    assert (got["ready"], got["total"], len(got["new"])) == (1450, 1500, 2)


def test_what_may_pass_is_tried_again_and_again_not_for_ever(receiver: Receiver) -> None:
    receiver.answers = [503, 429]
    webhook.post(receiver.url, {"n": 1}, pause=0)
    assert len(receiver.got) == 3
    receiver.answers = [500] * 9
    with pytest.raises(webhook.NotDelivered, match="it answers 500"):
        webhook.post(receiver.url, {"n": 2}, pause=0)
    assert len(receiver.got) == 3 + webhook.POST_TRIES


def test_what_will_not_pass_is_not_tried_again(receiver: Receiver) -> None:
    receiver.answers = [404, 404]
    with pytest.raises(webhook.NotDelivered, match="it answers 404") as caught:
        webhook.post(receiver.url, {"n": 1}, pause=0)
    assert len(receiver.got) == 1 and receiver.url not in str(caught.value)  # it may be a secret


def test_a_webhook_that_never_answers_ends(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    monkeypatch.setattr(webhook, "POST_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(Handler, "do_POST", lambda self: threading.Event().wait(1))
    with pytest.raises(webhook.NotDelivered):
        webhook.post(receiver.url, {"n": 1}, pause=0)


SECRET = "T0PS3CRET"


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that answers every connection with this."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/{SECRET}?token={SECRET}"
        listener.shutdown(socket.SHUT_RDWR)


def drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 10_000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(2**20))


def head(text: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.encode())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (flood, ""),
        (drip, "no answer within 0.5 seconds"),
        (lambda connection: None, ""),  # closed
        (head("SSH-2.0-OpenSSH_9.6\r\n"), "its answer is not HTTP"),
        (head("HTTP/1.1 200 OK\r\n" + "X: x\r\n" * 1000), "its answer is not HTTP"),
        (head("HTTP/1.1 200 OK\r\nX: " + "x" * 100_000), "its answer is not HTTP"),
        (head(f"HTTP/1.1 302 Found\r\nLocation: http://h/{SECRET}\r\n\r\n"), "a redirect"),
        (head(f"HTTP/1.1 307 Go\r\nLocation: file:///{SECRET}\r\n\r\n"), "a redirect"),
        (head(f"HTTP/1.1 404 {SECRET}\r\n\r\n"), "it answers 404"),
    ],
    ids=[
        *("flood", "drip", "closed", "not HTTP", "many headers", "long header"),
        *("redirect", "redirect to a file", "secret in the answer"),
    ],
)
def test_any_answer_ends_in_time_and_no_text_names_the_address(
    answer: Callable[[socket.socket], None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "POST_TIMEOUT_SECONDS", 0.5)
    began, text = time.monotonic(), ""
    with served(answer) as url:
        try:
            webhook.post(url, {"n": 1}, pause=0)
        except webhook.NotDelivered as error:
            text = str(error)
    assert time.monotonic() - began < 5
    assert why in text and SECRET not in text
    assert bool(text) is (answer is not flood)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/{}",  # nobody listens
        "http://name.invalid/{}",
        "https://127.0.0.1:{port}/{}",  # no TLS
        "http://127.0.0.1:65536/{}",
        "http://h/\n{}",
        "http://h/\u00e4{}",
        "http://[::1/{}",
        "http://user:{}@127.0.0.1:1/",
    ],
)
def test_no_error_names_the_address(url: str, receiver: Receiver) -> None:
    full = url.replace("{port}", str(receiver.server_address[1])).replace("{}", SECRET)
    with pytest.raises(ArchiveError) as caught:
        webhook.post(full, {"n": 1}, pause=0)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "hook", "http://"])
def test_only_http_is_a_webhook(url: str) -> None:
    with pytest.raises(ArchiveError, match="give an http"):
        webhook.check(url)


def test_trouble_with_the_webhook_does_not_change_the_run(
    finished: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run, and of one whose output cannot be read any more."""
    receiver.answers = [400]
    told: list[Event] = []
    result = {"run": finished.run, "seconds": 1.0, "exit_code": 0}
    summary.deliver(receiver.url, finished.out, result, told.append)
    summary.deliver(receiver.url, finished.out + "/gone", result, told.append)
    assert [event.kind for event in told] == ["log", "log"]
    assert "it answers 400" in told[0].sentence and "there is no run" in told[1].sentence
