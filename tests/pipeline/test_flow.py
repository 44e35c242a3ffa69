"""The main job on a real embedded Ray: every clip ends once, with its sound, time and reason.

Drivers and workers are killed on the way.
"""

import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
import ray

from jobs.console.query import query
from pipeline import flow, ray_runtime
from pipeline.clip.frames import to_ms
from pipeline.local import LocalExecutor
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import stream_hashes
from pipeline.runs.audit import verify
from pipeline.runs.events import Event
from pipeline.runs.ledger import Ledger
from pipeline.sources.manifest import ManifestInvalid
from pipeline.store import storage
from schemas.recipe import Limits, Recipe, load_recipe
from tests.support.command_line import Driver, markers, wait_for, write_manifest
from tests.support.media.media_factory import H264, Clip, Sound, write_clip
from tests.support.results import made

pytest_plugins = ("tests.support.environment.s3",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LIMITS = Limits()
STORED = Recipe(shard_frames=12, clean="restore")

# Kills the decoder of one file by a signal and without a message, as a broken bitstream can.
CRASH = """
import os, signal, sys
from tests.support.results import made
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    real = av.open
    def trapped(*args, **kwargs):
        if "crash" in str(args[0]):
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(*args, **kwargs)
    av.open = trapped
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small clips of several kinds, and some that cannot be restored."""
    folder = tmp_path_factory.mktemp("clips")
    size = {"width": 96, "height": 64}
    write_clip(folder / "sound.mkv", Clip(frames=14, sounds=(Sound("pcm_s16le"),), **size))
    write_clip(folder / "web.mp4", Clip(frames=30, **size, **H264))
    write_clip(folder / "deep.mkv", Clip(frames=9, pix_fmt="yuv422p10le", **size))
    write_clip(folder / "crash.mkv", Clip(frames=8, **size))
    whole = (folder / "sound.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    return folder


def good_rows(folder: Path | str) -> list[dict[str, str]]:
    names = ("sound.mkv", "web.mp4", "deep.mkv")
    return [{"clip_id": name.split(".")[0], "source_uri": f"{folder}/{name}"} for name in names]


def check_published(out: str, clip: str, source: Path, tmp_path: Path) -> None:
    """Compare frames, timestamps, depth and sound packets of a published clip and its source."""
    restored = tmp_path / f"{clip}_rst.mkv"
    storage.download(f"{out}/clips/{clip}/{clip}_rst.mkv", restored)
    with Decoder(source, LIMITS) as before, Decoder(restored, LIMITS) as after:
        sent = [to_ms(frame.pts, before.probe.time_base) for frame in before]
        got = [to_ms(frame.pts, after.probe.time_base) for frame in after]
        assert before.probe.pix_fmt == after.probe.pix_fmt
    assert [at - got[0] for at in got] == [at - sent[0] for at in sent]
    kept = [(s.kind, s.packets, s.sha256) for s in stream_hashes(source, LIMITS)]
    assert [(s.kind, s.packets, s.sha256) for s in stream_hashes(restored, LIMITS)] == kept
    record = json.loads(storage.read_bytes(f"{out}/clips/{clip}/{clip}_rst.mkv.json"))
    digest = record["files"][f"{clip}_rst.mkv"]["sha256"]
    assert digest == hashlib.sha256(restored.read_bytes()).hexdigest()


def framemd5s(out: str) -> dict[str, bytes]:
    found = [uri for uri in storage.listing(f"{out}/clips") if uri.endswith(".framemd5")]
    return {uri.rsplit("/", 1)[-1]: storage.read_bytes(uri) for uri in found}


@pytest.fixture
def crashing_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_every_clip_ends_once_and_a_second_run_does_nothing(
    clips: Path, tmp_path: Path, crashing_decoder: None
) -> None:
    rows = [
        *good_rows(clips),
        {"clip_id": "crash", "source_uri": f"{clips}/crash.mkv"},
        {"clip_id": "cut", "source_uri": f"{clips}/cut.mkv"},
        {"clip_id": "missing", "source_uri": f"{clips}/nowhere.mkv"},
        {"clip_id": "changed", "source_uri": f"{clips}/sound.mkv", "checksum": "0" * 64},
    ]
    rows[0]["reference_uri"] = f"{clips}/sound.mkv"
    manifest, out = write_manifest(tmp_path / "m.csv", rows), str(tmp_path / "out")
    events: list[Event] = []
    recipe = Recipe(shard_frames=12, clean="restore")  # web.mp4 becomes three shards
    summary = flow.run(manifest, out, recipe, progress=events.append)

    assert made(summary) == 3 and summary["clips"]["quarantined"] == 4
    assert sum(summary["clips"].values()) == len(rows)
    assert summary["exit_code"] == 3 and summary["frames"] == 14 + 30 + 9
    for row in rows[:3]:
        check_published(out, row["clip_id"], Path(row["source_uri"]), tmp_path)
    table = {row["clip_id"]: row for row in query(out, "SELECT * FROM clips").to_pylist()}
    assert len(table) == len(rows)
    reasons = {clip: row["reason"] for clip, row in table.items() if row["reason"]}
    assert reasons == {
        "crash": "DECODER_CRASH", "cut": "TRUNCATED", "missing": "NOT_FOUND", "changed":
        "FIXITY_MISMATCH",
    }  # fmt: skip
    assert "SIGSEGV" in table["crash"]["sentence"]
    assert table["web"]["shards"] == 3 and table["deep"]["pix_fmt"] == "yuv422p10le"
    assert (
        table["sound"]["ref_psnr_before_db"] == 100 and table["web"]["ref_psnr_before_db"] is None
    )
    assert table["web"]["noise_sigma_after"] is not None
    frames = query(out, "SELECT clip_id, count(*) AS n FROM frames GROUP BY 1").to_pylist()
    assert {row["clip_id"]: row["n"] for row in frames} == {"sound": 14, "web": 30, "deep": 9}
    ends = [event.clip_id for event in events if event.kind == "clip"]
    assert sorted(ends) == sorted(row["clip_id"] for row in rows)

    good = write_manifest(tmp_path / "good.csv", rows[:3])
    again = flow.run(good, out, recipe, progress=events.append)
    assert again["clips"]["up_to_date"] == 3 and again["exit_code"] == 0
    assert not list(storage.listing(f"{out}/runs/{again['run']}/segments"))  # no model work


def test_embedded_ray_listens_only_on_loopback_and_works_for_nobody_without_the_token() -> None:
    with ray_runtime.cluster(None):
        ray.get(ray.remote(lambda: None).remote())
        started = {p.pid: p.name() for p in psutil.Process().children(recursive=True)}
        sockets = [s for s in psutil.net_connections("inet") if s.pid in started]
        agents = [s for s in sockets if started[s.pid].startswith("ray::RuntimeEnv")]
        for port in {s.laddr.port for s in agents if s.status == "LISTEN"}:  # it installs packages
            address = f"http://127.0.0.1:{port}/get_or_create_runtime_env"
            with pytest.raises(HTTPError, match="401"):
                urlopen(address, b"x", timeout=60)
    assert agents
    assert {"gcs_server", "raylet"} <= set(started.values())
    listening = {s.laddr.ip.removeprefix("::ffff:") for s in sockets if s.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_faults_in_the_manifest_start_nothing(clips: Path, tmp_path: Path) -> None:
    rows = [
        *good_rows(clips),
        {"clip_id": "web", "source_uri": "ftp://x/y"},
        {"clip_id": "", "source_uri": "a.mkv"},
    ]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    with pytest.raises(ManifestInvalid) as caught:
        flow.run(manifest, str(tmp_path / "out"), Recipe(), progress=lambda event: None)
    assert len(caught.value.faults) == 3
    assert not (tmp_path / "out").exists()


def test_a_run_on_a_real_object_store(
    clips: Path, tmp_path: Path, s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    for name in ("sound.mkv", "web.mp4", "deep.mkv"):
        storage.upload(clips / name, f"{s3_prefix}/in/{name}")
    reel = Clip(codec="png", pix_fmt="gbrp", coded="rgb24", frames=5, options={})
    write_clip(tmp_path / "reel_%04d.png", reel)
    for path in tmp_path.glob("reel_*.png"):
        storage.upload(path, f"{s3_prefix}/in/{path.name}")
    scan = {"clip_id": "reel", "source_uri": f"{s3_prefix}/in/reel_%04d.png", "expected_fps": "24"}
    manifest = write_manifest(tmp_path / "m.csv", [*good_rows(f"{s3_prefix}/in"), scan])
    storage.upload(Path(manifest), f"{s3_prefix}/in/m.csv")
    out = f"{s3_prefix}/out"
    summary = flow.run(
        f"{s3_prefix}/in/m.csv",
        out,
        STORED,
        progress=lambda event: None,
    )
    assert made(summary) == 4 and summary["exit_code"] == 0
    for row in good_rows(clips):
        check_published(out, row["clip_id"], Path(row["source_uri"]), tmp_path)
    frames = query(out, "SELECT clip_id, frames FROM clips ORDER BY clip_id").to_pylist()
    assert {row["clip_id"]: row["frames"] for row in frames} == {
        "deep": 9, "reel": 5, "sound": 14, "web": 30,
    }  # fmt: skip
    assert not [
        uri for uri in storage.listing(f"{out}/runs") if uri.endswith(".mkv")
    ]  # segments are deleted
    # one worker that reads and writes a disk makes the same pictures
    beside = write_manifest(tmp_path / "beside.csv", good_rows(clips)[::2])
    one = LocalExecutor()
    flow.run(beside, str(tmp_path / "one"), STORED, executor=one, progress=lambda event: None)
    assert len(alone := framemd5s(str(tmp_path / "one"))) == 2
    assert alone.items() <= framemd5s(out).items()
    copies = disk / f"ar-{os.geteuid()}-sources"
    left = {path.name.partition("-")[0] for path in copies.iterdir()}
    assert left <= {"answer"}  # and the copies of sources; the mark says that the store answers
    again = flow.run(
        f"{s3_prefix}/in/m.csv",
        out,
        STORED,
        progress=lambda event: None,
    )
    assert again["clips"]["up_to_date"] == 4 and again["exit_code"] == 0


def test_strength_zero_publishes_the_source_bit_for_bit(clips: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "keep.toml"
    recipe.write_text("strength = 0.0\n")
    rows = [row for row in good_rows(clips) if row["clip_id"] == "deep"]
    flow.run(write_manifest(tmp_path / "m.csv", rows), str(tmp_path / "out"),
    load_recipe(str(recipe)),
             progress=lambda event: None)  # fmt: skip
    with (
        Decoder(clips / "deep.mkv", LIMITS) as a,
        Decoder(tmp_path / "out/clips/deep/deep_rst.mkv", LIMITS) as b,
    ):
        assert [frame.crc32 for frame in a] == [frame.crc32 for frame in b]


@pytest.fixture(scope="module")
def unbroken(
    clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, bytes]]]:
    """Manifest, recipe and framemd5s of an uninterrupted run of six clips with several shards."""
    folder = tmp_path_factory.mktemp("unbroken")
    rows = [{"clip_id": f"web{i}", "source_uri": f"{clips}/web.mp4"} for i in range(6)]
    recipe = folder / "short.toml"
    recipe.write_text('shard_frames = 10\nclean = "restore"\n')
    manifest = write_manifest(folder / "m.csv", rows)
    summary = flow.run(
        manifest, str(folder / "out"), load_recipe(str(recipe)), progress=lambda event: None
    )
    assert made(summary) == 6
    return manifest, recipe, framemd5s(str(folder / "out"))


def test_a_killed_driver_is_resumed(
    unbroken: tuple[str, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, recipe, expected = unbroken
    out = str(tmp_path / "out")
    first = Driver(manifest, out, recipe)
    wait_for(lambda: len(markers(out, "done")) >= 2)
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait()
    time.sleep(3)  # work in progress dies with its raylet
    committed, segments = markers(out, "done"), markers(out, "segments")
    assert 2 <= len(committed) < 6
    second = Driver(manifest, out, recipe)
    summary = second.result()
    assert summary["exit_code"] == 0 and made(summary) == 6
    assert len(list(Path(out).glob("runs/*"))) == 1  # the same run was resumed
    for path, written in (committed | segments).items():
        assert Path(path).stat().st_mtime_ns == written  # committed work is not repeated
    assert framemd5s(out) == expected


def test_a_terminated_driver_finishes_its_shards_and_is_resumed(
    unbroken: tuple[str, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, recipe, expected = unbroken
    out = str(tmp_path / "out")
    first = Driver(manifest, out, recipe)
    wait_for(lambda: markers(out, "segments"))
    first.process.terminate()  # the driver alone, not its workers
    summary = first.result()
    assert first.process.returncode == summary["exit_code"] == 143
    done, segments = markers(out, "done"), markers(out, "segments")
    assert summary["left"] == summary["clips"]["held"] == 6 - len(done) > 0
    assert made(summary) == len(done)
    begun = [path.name for path in Path(out).glob("runs/*/attempts/*")]
    attempts = [a for clip in begun for a in Ledger(out, summary["run"]).attempts(clip)]
    assert attempts and all(attempt["ended"] for attempt in attempts)  # none is interrupted
    reasons = query(out, "SELECT DISTINCT reason FROM clips WHERE state = 'held'").to_pylist()
    assert reasons == [{"reason": "CANCELLED"}]

    summary = Driver(manifest, out, recipe).result()
    assert summary["exit_code"] == 0 and made(summary) == 6
    assert len(list(Path(out).glob("runs/*"))) == 1  # the same run was resumed
    for path, written in (done | segments).items():
        assert Path(path).stat().st_mtime_ns == written  # committed work is not repeated
    assert framemd5s(out) == expected
    assert verify(out).broken is None


def test_a_killed_actor_changes_no_result(
    unbroken: tuple[str, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, recipe, expected = unbroken
    out = str(tmp_path / "out")
    driver = Driver(manifest, out, recipe)
    attempt = wait_for(lambda: sorted(Path(out).glob("runs/*/attempts/*/0-*.json")))[0]
    os.kill(int(json.loads(attempt.read_text())["pid"]), signal.SIGKILL)
    summary = driver.result()
    assert made(summary) == 6 and summary["exit_code"] == 0
    assert framemd5s(out) == expected


def test_clips_that_kill_their_workers_are_quarantined(clips: Path, tmp_path: Path) -> None:
    """Every worker that surveys or restores the clip is killed. The other clip is restored."""
    rows = good_rows(clips)
    recipe = tmp_path / "whole.toml"
    recipe.write_text('shard_frames = 1000\nclean = "restore"\n')
    out = str(tmp_path / "out")
    driver = Driver(write_manifest(tmp_path / "m.csv", rows), out, recipe)
    fatal, killed = ("web/0-*.json", "deep/-1-*.json"), set[str]()

    def kill_more() -> bool:
        attempts = Path(out).glob("runs/*/attempts")
        for path in [path for at in attempts for name in fatal for path in at.glob(name)]:
            place = f"{path.parent.name}/{path.name}"
            if place not in killed and not path.with_suffix(".end").exists():
                killed.add(place)
                os.kill(int(json.loads(path.read_text())["pid"]), signal.SIGKILL)
        return len(killed) >= 6 or driver.process.poll() is not None

    wait_for(kill_more)
    summary = driver.result()
    assert len(killed) == 6
    assert made(summary) == 1 and summary["clips"]["quarantined"] == 2
    assert summary["exit_code"] == 3
    found = query(out, "SELECT clip_id, reason FROM clips").to_pylist()
    reasons = {row["clip_id"]: row["reason"] for row in found if row["reason"]}
    assert reasons == {"web": "GPU_LOST", "deep": "WORKER_LOST"}
