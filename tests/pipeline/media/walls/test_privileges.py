"""A child of root gives up root's rights, and can still open its own files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment.other_user import UID, needs_root
from tests.support.paths import ROOT

DROP = """
import ctypes, os, sys
from pipeline.media.walls.privileges import drop
libc, number = ctypes.CDLL(None), ctypes.c_int()
libc.prctl(1, 9)  # PR_SET_PDEATHSIG
drop([sys.argv[1]], sys.argv[2:])
open(sys.argv[1], "rb").read(1)
for name in sys.argv[2:]:
    open(name, "r+b").close()
rights = dict(line.split(":") for line in open("/proc/self/status").read().splitlines())
libc.prctl(2, ctypes.byref(number))
assert number.value == 9, "it would outlive its parent"
print(os.geteuid(), rights["CapEff"].strip(), rights["CapPrm"].strip(), rights["NoNewPrivs"])
"""


def dropped(*files: Path) -> list[str]:
    """User, effective and permitted capabilities, and no_new_privs, after the drop."""
    command = [sys.executable, "-P", "-c", DROP, *map(str, files)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_root
def test_a_child_of_root_becomes_nobody_if_it_may_read_its_input() -> None:
    user, effective, permitted, sealed = dropped(Path("/etc/passwd"))
    assert (int(user), int(effective, 16), int(permitted, 16), sealed) == (UID, 0, 0, "1")


@needs_root
@pytest.mark.parametrize(("owner", "kept"), [(0, 0), (UID, 1 << 2)], ids=["own", "of another user"])
def test_otherwise_it_stays_root_and_keeps_at_most_the_right_to_read(
    tmp_path: Path, owner: int, kept: int
) -> None:
    (tmp_path / "film").write_bytes(b"x")
    (tmp_path / "film").chmod(0o600)
    os.chown(tmp_path / "film", owner, owner)
    user, effective, permitted, sealed = dropped(tmp_path / "film")
    assert (int(user), int(effective, 16), int(permitted, 16), sealed) == (0, kept, kept, "1")
