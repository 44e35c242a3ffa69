"""A run with planted faults, in which workers, drivers and the store are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from jobs.console.query import query
from pipeline.proof.fixity import check_published, published_files
from pipeline.proof.record import listed, read_record
from pipeline.runs import audit
from pipeline.runs.ledger import Ledger, runs
from pipeline.store import layout, storage
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from tests.support.command_line import wait_for, write_manifest
from tests.support.environment.planted import FAULTS, GOOD, TRAP
from tests.support.environment.s3 import BUCKET, S3Server
from tests.support.media.media_factory import Clip, write_clip
from tests.support.paths import COMMAND
from tests.support.results import made

STEPS = {"shard": 0, "survey": -1}  # the least and, for a survey, the only number of the step
PIECES = 8  # frames of a shard
ENDS = ("clip_published", "clip_untouched")
FAULTED = ("held", "quarantined", "failed")


@dataclass
class FaultRun:
    """A manifest with clips on a real S3 server, and the drivers that restore them."""

    folder: Path
    server: S3Server
    clips: int
    faults: tuple[str, ...]
    strength: float = 1.0
    extra: dict[str, str] = field(default_factory=dict)  # environment variables of the drivers
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.prefix = f"s3://{BUCKET}/{self.folder.name}"
        self.out = f"{self.prefix}/out"
        site = self.folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(TRAP)
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.env = os.environ | self.server.env | {"PYTHONPATH": os.pathsep.join(paths)}
        self.env["RAY_worker_niceness"] = (
            "0"  # with Ray's value of 15, workers starve on a busy machine
        )
        self.killed: set[str] = set()
        self.swaps: list[str] = []
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.pids: set[int] = set()  # of all processes of the drivers that were seen

    def end(self) -> None:
        """Kill all drivers."""
        for driver in self.drivers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()

    def prepare(self) -> None:
        """Write and upload media, manifest and recipe."""
        stored, local = self.folder / "stored", self.folder / "local"
        stored.mkdir()
        local.mkdir()
        for name, clip in GOOD.items():
            write_clip(stored / name, clip)
        for fault in self.faults:
            planted = FAULTS[fault]
            planted.write((local if planted.local else stored) / planted.file)
        for path in stored.iterdir():
            storage.upload(path, f"{self.prefix}/in/{path.name}")
        names = list(GOOD)
        rows = []
        for number in range(self.clips - len(self.faults)):
            name = names[number % len(names)]
            rows.append({"clip_id": f"c{number:03d}", "source_uri": f"{self.prefix}/in/{name}"})
        for number, fault in enumerate(self.faults):  # among the others
            planted = FAULTS[fault]
            place = str(local) if planted.local else f"{self.prefix}/in"
            row = {"clip_id": fault, "source_uri": f"{place}/{planted.file}", **planted.row}
            rows.insert(2 + number * len(rows) // len(self.faults), row)
        manifest = Path(write_manifest(self.folder / "m.csv", rows))
        storage.upload(manifest, f"{self.prefix}/in/m.csv")
        limits = "wall_seconds = 30\nmax_frames = 200\n"
        (self.folder / "short.toml").write_text(
            f'shard_frames = {PIECES}\nstrength = {self.strength}\nclean = "restore"\n'
            f"[limits]\n{limits}"
        )

    def rules(self) -> dict[str, str]:
        """What the proxy before the store does with which addresses."""
        planted = {name: FAULTS[name] for name in self.faults if FAULTS[name].store}
        return {
            f"/{name}/" if fault.store == "full" else f"/in/{fault.file}": fault.store
            for name, fault in planted.items()
        }

    def drive(self) -> subprocess.Popen[bytes]:
        """Start a driver in its own process group."""
        command = [str(COMMAND), "submit", f"{self.prefix}/in/m.csv", "--out", self.out, "--json"]
        command += ["--recipe", str(self.folder / "short.toml"), *self.options]
        with (self.folder / "submit.log").open("ab") as log:
            driver = subprocess.Popen(
                command, env=self.env | self.extra, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.drivers.append(driver)
        return driver

    def log(self) -> str:
        """The end of the drivers' log."""
        return (self.folder / "submit.log").read_text()[-6000:]

    def names(self, kind: str) -> list[str]:
        """Markers of a kind in the ledger, as <clip>.json or <clip>/<name>."""
        found = []
        for run in runs(self.out):
            base = f"{self.out}/runs/{run}/{kind}/"
            found += [uri.removeprefix(base) for uri in storage.listing(base)]
        return found

    def ended(self) -> int:
        """The number of clips that have ended in the newest run."""
        known = runs(self.out)
        if not known:
            return 0
        folder = layout.done_markers(layout.run_folder(self.out, known[-1]))
        return sum(1 for _ in storage.listing(folder))

    def processes(self, driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The processes below a driver."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(driver.pid).children(recursive=True)
            self.pids = {process.pid for process in found}
            return found
        return []

    def wait_for_done(self, count: int, driver: subprocess.Popen[bytes]) -> None:
        """Wait until at least `count` clips have ended."""

        def enough() -> bool:
            assert driver.poll() is None, self.log()
            return self.ended() >= count

        wait_for(enough, seconds=1200)

    def attempts_in_progress(self, clip: str = "", step: str = "shard") -> dict[str, int]:
        """Attempts in progress at one clip or at all clips, with their process ids."""
        known = runs(self.out)
        if not known:
            return {}
        ledger = Ledger(self.out, known[-1])
        begun = {clip} if clip else {name.split("/")[0] for name in self.names("attempts")}
        return {
            f"{name}/{attempt['shard']}-{attempt['pid']}-{attempt['started']}": int(attempt["pid"])
            for name in sorted(begun)
            for attempt in ledger.attempts(name)
            if not attempt["ended"] and min(attempt["shard"], 0) == STEPS[step]
        }

    def kill_an_actor(self, driver: subprocess.Popen[bytes]) -> None:
        """Kill a worker that restores a good clip."""

        def hit() -> bool:
            assert driver.poll() is None, self.log()
            for name, pid in self.attempts_in_progress().items():
                if name.startswith("c0"):
                    return _killed(pid)
            return False

        wait_for(hit, seconds=600)

    def poison(self, over: threading.Event) -> None:
        """Kill every worker that begins a clip to be killed, and swap sources under a worker."""
        seen: set[str] = set()
        planted = {name: FAULTS[name] for name in self.faults}
        while not over.wait(0.5):
            for name, fault in planted.items():
                if not (fault.killed or fault.swapped):
                    continue
                try:
                    begun = self.attempts_in_progress(name, fault.killed or "shard")
                except (ClipFault, IndexError):  # the server is down, or no run exists yet
                    continue
                for attempt, pid in begun.items():
                    if attempt in seen:
                        continue
                    seen.add(attempt)
                    if fault.swapped:
                        self._swap(fault.file)
                    elif _killed(pid):
                        self.killed.add(attempt)

    def _swap(self, name: str) -> None:
        """Put another picture into a local source."""
        other = self.folder / "other.mkv"
        write_clip(other, Clip(width=64, height=48, frames=8, grain=20 + len(self.swaps)))
        self.swaps.append(name)
        (self.folder / "local" / name).write_bytes(other.read_bytes())

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """Let `poison` work for the time of the block."""
        over = threading.Event()
        thread = threading.Thread(target=self.poison, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def restart_the_store(self, seconds: float) -> None:
        """Kill the server and restart it with its data after a pause."""
        self.server.kill()
        time.sleep(seconds)
        self.server.start()

    def check(self, summary: dict[str, Any]) -> None:
        """Check that every clip ended once: published whole, or with the expected reason."""
        assert summary["exit_code"] == 3, self.log()
        found = query(self.out, "SELECT clip_id, state, reason, sentence FROM clips").to_pylist()
        ends = {row["clip_id"]: row for row in found}
        assert len(found) == len(ends) == self.clips
        reasons = {clip: row["reason"] for clip, row in ends.items() if row["reason"]}
        expected = {name: FAULTS[name].ends for name in self.faults if FAULTS[name].ends}
        wrong = {name: ends[name] for name in reasons.keys() | expected.keys()
                 if reasons.get(name) != expected.get(name)}  # fmt: skip
        assert not wrong, wrong
        states = Counter(REASONS[Reason(reason)].state for reason in expected.values())
        good = self.clips - len(expected)
        assert made(summary) == good
        assert {state: summary["clips"][state] for state in FAULTED} == {
            state: states[state] for state in FAULTED
        }
        assert sum(summary["clips"].values()) == self.clips and summary["left"] == 0
        (run,) = runs(self.out)
        assert sorted(Ledger(self.out, run).done()) == sorted(ends)
        self._check_files({clip for clip in ends if clip not in reasons})
        objects = storage.read_many(self._entries()).values()
        entries = [json.loads(line) for data in objects for line in data.splitlines()]
        said = Counter(e["clip_id"] for e in entries if e["action"] in ENDS)
        assert set(said.values()) == {1} and len(said) == good
        assert audit.verify(self.out).broken is None

    def _entries(self) -> list[str]:
        return list(storage.listing(f"{self.out}/audit"))

    def _check_files(self, published: set[str]) -> None:
        prefix = f"{self.out}/clips/"
        found = {uri.removeprefix(prefix) for uri in storage.listing(prefix)}
        suffixes = ("", ".framemd5", ".premis.xml", ".json")
        always = {f"{c}/{c}_rst.mkv{suffix}" for c in published for suffix in suffixes}
        recorded = {
            f"{c}/{file.name}"
            for c in published
            for file in listed(read_record(f"{prefix}{c}/{c}_rst.mkv"))
        }
        assert found == always | recorded
        assert all(not check_published(uri).faults for uri in published_files(self.out))
        for k in range(len(GOOD)):  # clips of one source have equal pictures
            plain = self.clips - len(self.faults)
            same = [f"c{n:03d}" for n in range(k, plain, len(GOOD))]
            pictures = {
                storage.read_bytes(f"{prefix}{c}/{c}_rst.mkv.framemd5") for c in same
            }  # fmt: skip
            assert len(pictures) == 1


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def finished(
    driver: subprocess.Popen[bytes], log: Callable[[], str], seconds: float = 1800
) -> dict[str, Any]:
    """The summary of a driver, after its end, which has to come within so many seconds."""
    output, _ = driver.communicate(timeout=seconds)
    assert output, log()
    summary = dict(json.loads(output.splitlines()[-1]))
    assert driver.returncode == summary["exit_code"], log()
    return summary
