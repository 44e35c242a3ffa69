"""A decoding child that is forked instead of started: the same work under the same limits, without
the third of a second that importing takes.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence

from pipeline.media.child.decode import decode
from pipeline.media.child.runtime import run_child


class Forked:
    """The part of `subprocess.Popen` that `pipeline.media.sandbox.Child` uses.

    The parent must have one thread.
    """

    def __init__(
        self, command: Sequence[str], *, cwd: str, env: Mapping[str, str], **pipes: int
    ) -> None:
        module, request = command[-2:]
        assert module == "pipeline.media.child.decode"
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _child(request, out_end, err_end, cwd, env)
        os.close(out_end)
        os.close(err_end)
        self.stdout, self.stderr = os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        """Wait for the end. Return the exit code."""
        code = self._reap(0)
        assert code is not None
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def _reap(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _child(request: str, out: int, err: int, cwd: str, env: Mapping[str, str]) -> None:
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, 64)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["pipeline.media.child.decode", request]
        run_child(decode)
        code = 0
    except BaseException:  # as the interpreter would end
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
