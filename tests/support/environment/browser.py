"""A headless Chromium, driven over its debugging pipe. Tests skip where there is none."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
    "--remote-debugging-pipe", "--disable-background-networking", "--no-first-run",
    "--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
ANSWER_SECONDS = 60.0


class Browser:
    """One page of a browser. `requests` has every address that it asked for."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = to_browser, from_browser
        self._left, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.problems: list[str] = []  # exceptions of scripts, and what the policy blocked
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select([self._in], [], [], ANSWER_SECONDS)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        method, told = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(told["exceptionDetails"])[:500])
        if method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(told["entry"]["text"])

    def wait_for(self, method: str) -> None:
        """Wait for an event that comes after this call or has come since `open` began."""
        while not any(event.get("method") == method for event in self.events):
            self._note(self._next())

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file, and wait until all of it is there."""
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.wait_for("Page.loadEventFired")
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait_for("Page.loadEventFired")

    def window(self, width: int, height: int = 900, dark: bool = False, zoom: float = 1) -> None:
        """Set the size in CSS pixels before the zoom, and the colours that the person likes."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=round(width / zoom), height=round(height / zoom), deviceScaleFactor=zoom,
            mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression on the page. A promise is awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:800])
        return found["result"].get("value")

    def press(self, key: str, text: str = "", shift: bool = False) -> None:
        """Press and release a key."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27}
        event: dict[str, Any] = {"key": key, "modifiers": 8 if shift else 0}
        event["windowsVirtualKeyCode"] = codes.get(key, ord(key[0].upper()))
        text = text or {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def picture(self, path: Path, whole: bool = True) -> Path:
        """Write a screenshot."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that reaches no network. Its profile is in `folder`."""
    if CHROMIUM is None:
        raise RuntimeError("there is no Chromium")
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    # The browser reads descriptor 3 and writes 4. Here both have higher numbers.
    passed = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
    nothing = os.open(os.devnull, os.O_RDWR)
    ends = [(nothing, 0), (nothing, 1), (nothing, 2), (passed[0], 3), (passed[1], 4)]
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    pid = os.posix_spawn(
        CHROMIUM, command, dict(os.environ), setsid=True,
        file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in ends],
    )  # fmt: skip
    for end in (theirs_in, theirs_out, nothing, *passed):
        os.close(end)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours_out)
        os.close(ours_in)
