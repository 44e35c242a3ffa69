"""Who is killed in a fault run, and when: a plan from a seed, which is printed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil

from jobs.console.output import say
from tests.support.command_line import wait_for
from tests.support.environment.fault_run import FaultRun

# Each is killed as often as it stands here. After one of FATAL the test starts the next driver.
VICTIMS = (
    *("actor", "actor", "actor", "decoder", "decoder", "launcher", "store", "store", "disk"),
    *("driver", "driver", "raylet", "gcs_server"),
)
FATAL = ("driver", "raylet", "gcs_server")
WORKERS = ("ray::MapWorker", "ray::Map(", "ray::FlatMap(")  # with an agent of Ray dies its raylet
GRACE_SECONDS = 300.0  # nothing may stand still for longer
STORE_SECONDS, DISK_SECONDS = 5.0, 5.0
Plan = list[tuple[int, str]]


def plan(seed: int, clips: int) -> Plan:
    """(number of ended clips, victim) in order."""
    rng = random.Random(seed)
    victims = list(VICTIMS)
    rng.shuffle(victims)
    places = sorted(rng.sample(range(clips // 50, clips * 9 // 10), len(victims)))
    return list(zip(places, victims, strict=True))


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path | None]:
    """A disk of its own for temporary files. None if this user may not mount one."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Killer:
    """Follows the plan through the drivers of one run."""

    def __init__(self, run: FaultRun, seed: int, disk: Path | None) -> None:
        self.run, self.disk = run, disk
        self.rng = random.Random(seed)
        self.killed: list[str] = []

    def restored(self, steps: Plan) -> subprocess.Popen[bytes]:
        """Drive the run and kill by the plan. Returns the driver that is left."""
        driver = self.run.drive()
        for count, victim in steps:
            driver = self.wait_for(count, driver)
            say(f"{datetime.now():%H:%M:%S} {self.run.ended()} clips ended: {victim}")
            self.kill(victim, driver)
            self.killed.append(victim)
            if victim in FATAL:
                driver.communicate(timeout=GRACE_SECONDS)
                assert driver.returncode == (-9 if victim == "driver" else 1), self.run.log()
                self.wait_until_gone()
                driver = self.run.drive()
        return driver

    def wait_for(self, count: int, driver: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Wait until so many clips have ended. Nothing may stand still for the time of grace.

        Returns the driver: another one if Ray did not start, as on a machine that is too busy.
        """
        ended, since = -1, time.monotonic()
        while (now := self.run.ended()) < count:
            if driver.poll() is not None:
                assert "Ray did not start" in self.run.log()[-400:], self.run.log()
                driver, since = self.run.drive(), time.monotonic()
            if now != ended:
                ended, since = now, time.monotonic()
            stands = time.monotonic() - since
            assert stands < GRACE_SECONDS, f"{now} clips ended, none for {stands:.0f} s"
            time.sleep(1)
        return driver

    def kill(self, victim: str, driver: subprocess.Popen[bytes]) -> None:
        """Kill one process, fill the disk, or stop the store."""
        if victim == "store":
            self.run.restart_the_store(STORE_SECONDS)
        elif victim == "disk":
            self.fill()
        elif victim == "driver":
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            wait_for(lambda: self._hit(victim, driver), GRACE_SECONDS)

    def fill(self) -> None:
        """Leave no byte on the disk of temporary files for some seconds."""
        if self.disk is None:
            say("no right to mount a disk: it is not filled")
            return
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", 0) as stream:
            while True:
                stream.write(bytes(1 << 16))
        time.sleep(DISK_SECONDS)
        ballast.unlink()

    def wait_until_gone(self) -> None:
        """Wait until no process of the last driver is left."""
        wait_for(lambda: not any(map(psutil.pid_exists, self.run.pids)), GRACE_SECONDS)

    def _hit(self, victim: str, driver: subprocess.Popen[bytes]) -> bool:
        below = self.run.processes(driver)
        found = [process for process in below if _is(victim, process)]
        if not found:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self.rng.choice(found).kill()
            return True
        return False


def _is(victim: str, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        if victim == "actor":
            return "".join(process.cmdline()[:1]).startswith(WORKERS)
        if victim in ("decoder", "launcher"):
            above = process.parent()
            job = above is not None and _launches(above)
            return _launches(process) and job == (victim == "decoder")
        return process.name() == victim
    return False


def _launches(process: psutil.Process) -> bool:
    return "pipeline.media.child.launch" in process.cmdline()
