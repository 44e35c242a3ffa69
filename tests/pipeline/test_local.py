"""The local executor gives the results that Ray gives."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.restorer import Restorer
from pipeline import flow, restore, shard_progress
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.frames import Probe
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.shards import plan_shards
from pipeline.local import LocalExecutor, ThisProcess
from pipeline.media.child.decode import LARGE_THREADS, _Decoding
from pipeline.media.child.runtime import MAX_THREADS
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.restore import CODEC_THREADS, ShardRestorer
from pipeline.runs.run import Run
from pipeline.sources.manifest import read_manifest
from pipeline.stages import Restorers
from pipeline.store import storage
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.command_line import write_manifest
from tests.support.media.decoding import LIMITS
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.probes import PROBE
from tests.support.results import made, quiet
from tests.support.studio import clip_of

pytest_plugins = ("tests.support.environment.s3",)
RECIPE = Recipe(shard_frames=6)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip of two shards, and one without a source."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "a.mkv", Clip(frames=12, width=96, height=64))
    rows = [{"clip_id": name, "source_uri": f"{folder}/{name}.mkv"} for name in ("a", "missing")]
    return write_manifest(folder / "m.csv", rows)


@pytest.fixture(scope="module")
def out(manifest: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of a run in this process."""
    out = str(tmp_path_factory.mktemp("local"))
    summary = flow.run(manifest, out, RECIPE, executor=LocalExecutor(), progress=quiet)
    assert (made(summary), summary["clips"]["quarantined"]) == (1, 1)
    assert (summary["exit_code"], summary["left"]) == (3, 0)
    return out


def framemd5(out: str) -> bytes:
    return storage.read_bytes(f"{out}/clips/a/a_rst.mkv.framemd5")


def test_a_run_without_ray_publishes(out: str) -> None:
    lines = framemd5(out).decode().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 12


def test_a_fault_becomes_a_result(tmp_path: Path) -> None:
    clip = ManifestClip("missing", str(tmp_path / "missing.mkv"))
    work = Run.open("m.csv", [clip], str(tmp_path / "out"), RECIPE, quiet)
    with pytest.raises(ClipFault, match="does not exist") as fault:
        LocalExecutor().result(work, clip)
    assert fault.value.reason is Reason.NOT_FOUND
    result = work.settings.ledger.result("missing")
    assert (result.state, result.reason) == ("quarantined", Reason.NOT_FOUND)


def test_a_worker_tells_how_far_a_shard_is(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_progress, "PAUSE_SECONDS", 0)
    recipe = replace(RECIPE, strength=0.0)
    clip = read_manifest(manifest)[0]
    work = Run.open("m.csv", [clip], str(tmp_path / "out"), recipe, quiet)
    LocalExecutor().result(work, clip)
    assert shard_progress.frames_restored(work.settings.ledger) == {("a", 0): 6, ("a", 1): 6}


def test_this_process_is_the_only_node() -> None:
    nodes = ThisProcess()
    assert nodes.lost_nodes() == set()
    assert nodes.worker("s") == nodes.worker("s")


@pytest.mark.slow
def test_a_store_holds_the_same_pictures(manifest: str, out: str, s3_prefix: str) -> None:
    """Source and output in a store, one worker. `test_flow` has a store with two workers."""
    text = Path(manifest).read_text()
    for path in Path(manifest).parent.glob("*.mkv"):
        storage.upload(path, f"{s3_prefix}/in/{path.name}")
    stored = text.replace(str(Path(manifest).parent), f"{s3_prefix}/in")
    storage.write_bytes(f"{s3_prefix}/in/m.csv", stored.encode())
    there = f"{s3_prefix}/out"
    executor = LocalExecutor()
    flow.run(f"{s3_prefix}/in/m.csv", there, RECIPE, executor=executor, progress=quiet)
    assert framemd5(there) == framemd5(out)


class ByTensors(Restorers):
    """Restores as a GPU does, and is killed at a shard of the given number."""

    def __init__(self, killed_at: int | None = None) -> None:
        super().__init__(threads=1)
        self.killed_at, self.restored = killed_at, list[int]()

    def of(self, recipe: Recipe) -> ShardRestorer:
        given = self
        model = Restorer(recipe.model, device="cpu", tensors=True, batch=4)

        class Killed(ShardRestorer):
            def restore(self, *work: Any, **more: Any) -> SegmentRecord:
                if (shard := work[2].index) == given.killed_at:
                    raise SystemExit
                given.restored.append(shard)
                return super().restore(*work, **more)

        return Killed(recipe, 1, model)


@pytest.mark.slow
def test_a_run_by_tensors_is_resumed_to_the_same_pictures(manifest: str, tmp_path: Path) -> None:
    recipe = replace(RECIPE, model="fast", clean="restore")

    def run(name: str, restorers: ByTensors) -> list[int]:
        executor = LocalExecutor()
        executor.restorers = restorers
        flow.run(manifest, str(tmp_path / name), recipe, executor=executor, progress=quiet)
        return restorers.restored

    assert run("whole", ByTensors()) == [0, 1]
    killed = ByTensors(killed_at=1)
    with pytest.raises(SystemExit):
        run("killed", killed)
    assert killed.restored == [0]
    assert run("killed", ByTensors()) == [1]
    assert framemd5(str(tmp_path / "killed")) == framemd5(str(tmp_path / "whole"))


@pytest.mark.slow
def test_ray_publishes_the_same_pictures(manifest: str, out: str, tmp_path: Path) -> None:
    flow.run(manifest, str(tmp_path / "out"), RECIPE, progress=quiet)
    assert framemd5(str(tmp_path / "out")) == framemd5(out)


def test_the_codecs_get_threads_beside_a_gpu_and_write_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    class Watched(SegmentWriter):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            given.append(self._stream.codec_context.thread_count)

    class WatchedDecoder(Decoder):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            given.append(self.threads)

    monkeypatch.setattr(restore, "SegmentWriter", Watched)
    monkeypatch.setattr(restore, "Decoder", WatchedDecoder)
    path, recipe = tmp_path / "c.mkv", Recipe(model="fast", strength=0.0)
    write_clip(path, Clip(frames=4, width=320, height=240))
    survey = survey_clip(clip_of(path), recipe, tmp_path)
    restorer, (shard,) = ShardRestorer(recipe, 1), plan_shards(survey.shots, 120)

    def made(name: str) -> bytes:
        restorer.restore(path, survey, shard, tmp_path / name)
        return (tmp_path / name).read_bytes()

    alone = made("alone.mkv")
    monkeypatch.setattr(ShardRestorer, "on_gpu", True)
    assert made("beside.mkv") == alone
    assert sorted(given) == [1, 1, CODEC_THREADS, CODEC_THREADS]


def test_a_child_decodes_with_no_more_threads_than_its_limits_count_on() -> None:
    def threads(asked: int, probe: Probe) -> int:
        return _Decoding([], LIMITS, probe, asked).threads

    large = replace(PROBE, width=3840, height=2160)
    assert [threads(asked, PROBE) for asked in (1, 3, 500)] == [1, 3, MAX_THREADS]
    assert threads(1, large) == LARGE_THREADS
    assert CODEC_THREADS <= MAX_THREADS
