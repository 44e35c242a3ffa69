"""Code that runs in the decoder's place reaches nothing but its own input."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from pipeline.media.decoder import Decoder
from pipeline.media.muxer import stream_hashes
from pipeline.media.sandbox import missing_walls, require_walls
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from tests.support.media.decoding import LIMITS, decode
from tests.support.media.media_factory import Clip, write_clip

# The launcher loads it, and each job runs it at its first `av.open`. It says what succeeded.
HOSTILE = """
import os, sys
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    def hostile(path, *rest, **options):
        import ctypes, json, socket, subprocess, threading
        libc = ctypes.CDLL(None, use_errno=True)
        parent, port, folder, address, here = {facts}
        other = os.path.join(folder, "other.txt")
        def check(done):
            if done < 0:
                raise OSError(ctypes.get_errno(), "refused")
        def call(number, *arguments):
            check(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
        def read(name):
            with open(name, "rb") as stream:
                stream.read(1)
        def thread():
            worker = threading.Thread(target=lambda: None)
            worker.start()
            worker.join()
        def peek():
            local, remote = ctypes.create_string_buffer(8), ctypes.c_uint64(address)
            class Part(ctypes.Structure):
                _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
            check(libc.process_vm_readv(parent, ctypes.byref(Part(ctypes.addressof(local), 8)), 1,
                ctypes.byref(Part(address, 8)), 1, 0))
        def environment():
            if any("hush" in text for text in os.environ.values()):
                return
            raise OSError("no secret")
        def planted():
            if not {{"", ".", here, os.getcwd()}} & set(sys.path):
                raise OSError("code is not imported from the working directory")
        attempts = dict(
            planted=planted,
            input=lambda: read(path),
            thread=thread,
            shadow=lambda: read("/etc/shadow"),
            passwd=lambda: read("/etc/passwd"),
            other=lambda: read(other),
            listing=lambda: os.listdir(folder),
            write_input=lambda: open(path, "r+b").close(),
            create=lambda: open(os.path.join(folder, "new"), "wb").close(),
            remove=lambda: os.remove(other),
            rename=lambda: os.rename(other, other + "2"),
            truncate=lambda: os.truncate(other, 0),
            mode=lambda: os.chmod(path, 0o777),
            times=lambda: os.utime(path, (0, 0)),
            link=lambda: os.symlink(other, os.path.join(folder, "link")),
            connect=lambda: socket.create_connection(("127.0.0.1", port), 5).close(),
            listen=lambda: socket.create_server(("127.0.0.1", 0)).close(),
            unix=lambda: socket.socket(socket.AF_UNIX).close(),
            shell=lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
            execute=lambda: check(libc.execve(b"/bin/true", None, None)),
            fork=lambda: os._exit(0) if os.fork() == 0 else None,
            environ=lambda: read(f"/proc/{{parent}}/environ"),
            environment=environment,
            memory=lambda: read(f"/proc/{{parent}}/mem"),
            peek=peek,
            trace=lambda: check(libc.ptrace(16, parent, None, None)),
            signal=lambda: os.kill(parent, 0),
            group=lambda: os.killpg(os.getpgid(parent), 0),
            thread_signal=lambda: call(200 if os.uname().machine == "x86_64" else 130, parent, 0),
            mount=lambda: check(libc.mount(b"none", b"/", b"tmpfs", 0, None)),
            namespace=lambda: check(libc.unshare(0x10000000)),
            keyring=lambda: call(248 if os.uname().machine == "x86_64" else 217, 0, 0, 0),
            uring=lambda: call(425, 1, 0),
            descriptor=lambda: call(434, parent, 0),
            more_memory=lambda: __import__("resource").prlimit(parent, 9),
            root=lambda: os.setresuid(0, 0, 0) if os.getuid() else open("/proc/1/environ").close(),
        )
        done = []
        for name, attempt in attempts.items():
            try:
                attempt()
            except (OSError, RuntimeError, ValueError):
                continue
            done.append(name)
        raise RuntimeError(f"reached {{sorted(done)}}")
    av.open = hostile
"""
# What each wall keeps out by itself is not told apart here: all of them stand around the child.
NEEDS = {
    "files": {
        "shadow", "passwd", "other", "listing", "write_input", "create", "remove", "rename",
        "truncate", "link", "environ", "memory", "root",
    },
    "calls": {
        "mode", "times", "connect", "listen", "unix", "shell", "execute", "fork", "peek", "trace",
        "signal", "group", "thread_signal", "mount", "namespace", "keyring", "uring",
        "descriptor", "more_memory",
    },
}  # fmt: skip


@pytest.fixture
def reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> set[str]:
    """What hostile code reached from a child that was to decode `clip.mkv`."""
    secret = ctypes.create_string_buffer(b"hush")
    folder = tmp_path / "films"
    folder.mkdir()
    write_clip(folder / "clip.mkv", Clip(frames=2))
    (folder / "other.txt").write_text("another clip")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, address = server.getsockname()[1], ctypes.addressof(secret)
        facts = (os.getpid(), port, str(folder), address, str(tmp_path))
        (hooks / "sitecustomize.py").write_text(HOSTILE.format(facts=facts))
        with pytest.raises(ClipFault) as fault:
            request.param(folder / "clip.mkv")
    assert (folder / "other.txt").read_text() == "another clip"
    said = re.search(r"reached (\[.*\])", fault.value.sentence)
    assert said is not None, fault.value.sentence
    return set(ast.literal_eval(said.group(1)))


@pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")
@pytest.mark.parametrize(
    "reached",
    [decode, lambda path: stream_hashes(path, LIMITS)],
    ids=["decode", "mux"],
    indirect=True,
)
def test_hostile_code_reaches_its_input_and_nothing_else(reached: set[str]) -> None:
    missing = missing_walls()
    held = {what for wall, kept_out in NEEDS.items() if wall not in missing for what in kept_out}
    if not held:
        pytest.skip(f"this kernel lacks {', '.join(missing)}")
    assert reached >= {"input", "thread"}
    assert reached & (held | {"environment", "planted"}) == set()


def test_a_wall_that_is_asked_for_and_missing_stops_the_work(
    sound_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVE_RESTORE_WALLS", "calls network")
    (tmp_path / "sitecustomize.py").write_text(
        "import platform; platform.machine = lambda: 'pdp11'"  # no filter is known for it
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ClipFault, match="calls \\(the system calls of pdp11") as fault:
        decode(sound_file)
    assert fault.value.reason is Reason.NOT_ISOLATED
    missing_walls.cache_clear()
    with pytest.raises(ArchiveError, match="ask for fewer in ARCHIVE_RESTORE_WALLS"):
        require_walls()
    monkeypatch.setenv("ARCHIVE_RESTORE_WALLS", "")
    with Decoder(sound_file, LIMITS) as decoder:
        assert decoder.probe.width
    assert re.search("lacks walls: .*calls \\(the system calls of pdp11", require_walls())
    missing_walls.cache_clear()


def test_an_unknown_wall_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_RESTORE_WALLS", "files moat")
    with pytest.raises(ArchiveError, match="names moat, which is none of: all, network"):
        require_walls()
