"""Another user of this machine, for tests that run as root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

UID = 65_534  # nobody
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

# The interpreter may lie where the other user cannot start it: become that user afterwards.
_BECOME = f"import os, sys; os.setgroups([]); os.setgid({UID}); os.setuid({UID})\n"
_INTRUDE = """
def attempt(what, work):
    try:
        work()
    except OSError:
        return
    print(what)
folder, files = sys.argv[1], sys.argv[2:]
attempt("list", lambda: os.listdir(folder))
for name in files:
    attempt("read", lambda: open(name, "rb").read(1))
    attempt("replace", lambda: os.rename(name, name + ".moved"))
attempt("write", lambda: open(os.path.join(folder, "planted.py"), "w").close())
attempt("rename", lambda: os.rename(folder, folder + ".moved"))
"""


def as_other_user(code: str, *arguments: str) -> str:
    """Runs Python code as the other user and returns what it prints."""
    command = [sys.executable, "-I", "-S", "-c", _BECOME + code, *arguments]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def intrude(folder: Path, *files: Path) -> list[str]:
    """What the other user can do with a folder and its files. An empty list: nothing."""
    return as_other_user(_INTRUDE, str(folder), *map(str, files)).split()
