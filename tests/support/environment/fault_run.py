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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from jobs.console.query import query
from pipeline.proof.fixity import check_published, published_files
from pipeline.runs import audit
from pipeline.runs.ledger import Ledger, runs
from pipeline.store import storage
from schemas.errors import ClipFault
from tests.support.command_line import wait_for, write_manifest
from tests.support.environment.s3 import BUCKET, S3Server
from tests.support.media.media_factory import H264, Clip, Sound, write_clip
from tests.support.paths import COMMAND
from tests.support.results import made

ENDS = ("clip_published", "clip_untouched")
SIZE = {"width": 96, "height": 64}
GOOD = {
    "sound.mkv": Clip(frames=14, sounds=(Sound("pcm_s16le"),), **SIZE),
    "web.mp4": Clip(frames=12, **SIZE, **H264),
    "deep.mkv": Clip(frames=8, pix_fmt="yuv422p10le", **SIZE),
    "prores.mov": Clip(frames=10, codec="prores_ks", pix_fmt="yuv422p10le", options={}, **SIZE),
}
# Faults that the run must survive: the file, and the reason code of its clip.
FAULTS = {
    "missing": ("nowhere.mkv", "NOT_FOUND"),
    "cut": ("cut.mkv", "TRUNCATED"),
    "flipped": ("flipped.mkv", "DECODE_CRC"),
    "crash": ("film.crash", "DECODER_CRASH"),
    "changed": ("sound.mkv", "FIXITY_MISMATCH"),
    "list": ("list.mkv", "UNSUPPORTED_FORMAT"),
    "bomb": ("bomb.mkv", "MEDIA_BOMB"),
    "mute": ("mute.mkv", "NO_VIDEO"),
    "gap": ("gap_%04d.png", "FRAME_COUNT"),
    "moov": ("moov.mp4", "TRUNCATED"),
    "hang": ("film.hang", "DECODER_TIMEOUT"),
    "poison": ("poison.mp4", "GPU_LOST"),
}
# Decoders of two files crash or hang, as native decoders can. The file names select them.
TRAP = """
import os, signal, sys, time
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    real = av.open
    def trapped(*args, **kwargs):
        if ".crash" in str(args[0]):
            os.kill(os.getpid(), signal.SIGSEGV)
        if ".hang" in str(args[0]):
            time.sleep(3600)
        return real(*args, **kwargs)
    av.open = trapped
"""


def write_media(folder: Path) -> None:
    """Write the good and the broken sources."""
    for name, clip in GOOD.items():
        write_clip(folder / name, clip)
    whole = (folder / "sound.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with av.open(str(folder / "deep.mkv")) as container:
        packet = bytes([p for p in container.demux(video=0) if p.size][4])
    data = bytearray((folder / "deep.mkv").read_bytes())
    at = data.find(packet) + len(packet) // 2
    data[at : at + 8] = bytes(value ^ 0xFF for value in data[at : at + 8])
    (folder / "flipped.mkv").write_bytes(data)
    for name in ("film.crash", "film.hang"):
        (folder / name).write_bytes((folder / "deep.mkv").read_bytes())
    (folder / "list.mkv").write_bytes(b"ffconcat version 1.0\nfile /etc/hostname\n")
    write_clip(folder / "bomb.mkv", Clip(width=6400, height=6000, pix_fmt="gray", frames=1))
    with av.open(str(folder / "mute.mkv"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    png = Clip(codec="png", pix_fmt="gbrp", coded="rgb24", frames=5, options={}, **SIZE)
    write_clip(folder / "gap_%04d.png", png)
    (folder / "gap_0003.png").unlink()
    web = (folder / "web.mp4").read_bytes()
    (folder / "moov.mp4").write_bytes(web[: len(web) // 2])
    write_clip(folder / "poison.mp4", Clip(frames=60, **SIZE, **H264))


@dataclass
class FaultRun:
    """A manifest with clips on a real S3 server, and the drivers that restore them."""

    folder: Path
    server: S3Server
    clips: int
    faults: tuple[str, ...]
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
        self.drivers: list[subprocess.Popen[bytes]] = []

    def end(self) -> None:
        """Kill all drivers."""
        for driver in self.drivers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()

    def prepare(self) -> None:
        """Write and upload media, manifest and recipe."""
        media = self.folder / "media"
        media.mkdir()
        write_media(media)
        for path in media.iterdir():
            storage.upload(path, f"{self.prefix}/in/{path.name}")
        names = list(GOOD)
        rows = []
        for number in range(self.clips - len(self.faults)):
            name = names[number % len(names)]
            rows.append({"clip_id": f"c{number:03d}", "source_uri": f"{self.prefix}/in/{name}"})
        for number, fault in enumerate(self.faults):  # among the others
            row = {"clip_id": fault, "source_uri": f"{self.prefix}/in/{FAULTS[fault][0]}"}
            row |= {"checksum": "0" * 64} if fault == "changed" else {}
            row |= {"expected_fps": "25"} if fault == "gap" else {}
            rows.insert(2 + number * len(rows) // len(self.faults), row)
        manifest = Path(write_manifest(self.folder / "m.csv", rows))
        storage.upload(manifest, f"{self.prefix}/in/m.csv")
        recipe = self.folder / "short.toml"
        recipe.write_text('shard_frames = 8\nclean = "restore"\n[limits]\nwall_seconds = 90\n')

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

    def wait_for_done(self, count: int, driver: subprocess.Popen[bytes]) -> None:
        """Wait until at least `count` clips have ended."""

        def enough() -> bool:
            assert driver.poll() is None, self.log()
            return len(self.names("done")) >= count

        wait_for(enough, seconds=1200)

    def attempts_in_progress(self, clip: str = "") -> dict[str, int]:
        """Attempts in progress at shards of one clip or of all clips, with their process ids."""
        known = runs(self.out)
        if not known:
            return {}
        ledger = Ledger(self.out, known[-1])
        begun = {name.split("/")[0] for name in self.names("attempts")}
        return {
            f"{name}/{attempt['shard']}-{attempt['pid']}": int(attempt["pid"])
            for name in sorted(begun & {clip} if clip else begun)
            for attempt in ledger.attempts(name)
            if not attempt["ended"] and attempt["shard"] >= 0
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
        """Kill every worker that starts the clip `poison`, until the run is over."""
        while not over.wait(0.05):
            try:
                victims = self.attempts_in_progress("poison")
            except (ClipFault, IndexError):  # the server is down, or no run exists yet
                continue
            for name, pid in victims.items():
                if name not in self.killed and _killed(pid):
                    self.killed.add(name)

    def restart_the_store(self, seconds: float) -> None:
        """Kill the server and restart it with its data after a pause."""
        self.server.kill()
        time.sleep(seconds)
        self.server.start()

    def check(self, summary: dict[str, Any]) -> None:
        """Check that every clip ended once: published whole, or with the expected reason."""
        good = self.clips - len(self.faults)
        assert summary["exit_code"] == 3, self.log()
        found = query(self.out, "SELECT clip_id, state, reason, sentence FROM clips").to_pylist()
        ends = {row["clip_id"]: row for row in found}
        assert len(found) == len(ends) == self.clips
        reasons = {clip: row["reason"] for clip, row in ends.items() if row["reason"]}
        assert reasons == {fault: FAULTS[fault][1] for fault in self.faults}, ends
        assert (made(summary), summary["clips"]["quarantined"]) == (good, len(self.faults))
        assert sum(summary["clips"].values()) == self.clips and summary["left"] == 0
        assert len(runs(self.out)) == 1
        assert sorted(self.names("done")) == sorted(f"{clip}.json" for clip in ends)
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
        expected = {f"{c}/{c}_rst.mkv{suffix}" for c in published for suffix in suffixes}
        small = list(GOOD).index("deep.mkv")  # of one shard: its sum is in its record
        large = {f"c{n:03d}" for n in range(self.clips) if n % len(GOOD) != small} & published
        assert found == expected | {f"{c}/{c}_rst.mkv.sha256" for c in large}
        assert all(not check_published(uri).faults for uri in published_files(self.out))
        for k in range(len(GOOD)):  # clips of one source have equal pictures
            same = [f"c{n:03d}" for n in range(k, len(published), len(GOOD))]
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


def finished(driver: subprocess.Popen[bytes], log: Callable[[], str]) -> dict[str, Any]:
    """The summary of a driver, after its end."""
    output, _ = driver.communicate(timeout=1800)
    assert output, log()
    summary = dict(json.loads(output.splitlines()[-1]))
    assert driver.returncode == summary["exit_code"], log()
    return summary
