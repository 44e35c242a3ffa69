"""Memory is predicted from the size of a frame; a clip that does not fit tiles or is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.network.need import NEEDS, TILE_MARGIN, largest_side, predicted
from pipeline.clip.shards import plan_shards
from pipeline.clip.tasks import ClipEnded
from pipeline.local import ThisProcess
from pipeline.plan import memory
from pipeline.plan.memory import machine_bytes, tiles_within
from pipeline.restore import ShardRestorer
from pipeline.runs.run import Run
from pipeline.stages import SurveyStage
from pipeline.survey import _Pass, survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import MODELS, Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.studio import clip_of

UHD = 3840, 2160
FRAMES = 20  # of the window, and of the queues before and after the model
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def test_the_prediction_grows_with_the_frame_and_with_the_tiles() -> None:
    assert set(NEEDS) == set(MODELS)
    for model in MODELS:
        whole, tiled, small = (predicted(model, *UHD, side) for side in (0, 1024, 256))
        assert whole > tiled > small > predicted(model, 720, 576, 256)
        assert [largest_side(model, *UHD, room) for room in (whole, whole - 1, tiled, small)] == [
            0, 1024, 1024, 256,
        ]  # fmt: skip
        assert largest_side(model, *UHD, small - 1) is None
    wide = TILE_MARGIN * 2 + 256  # a tile with its margin is the whole frame: nothing is saved
    assert predicted("fast", wide, 64, 256) == predicted("fast", wide, 64)


def test_a_refusal_names_both_numbers() -> None:
    with pytest.raises(ClipFault, match=r"3840x2160 need .* GiB .* may take 1\.0 GiB") as caught:
        tiles_within(1 << 30, Recipe(), *UHD)
    assert (caught.value.reason, caught.value.state) == (Reason.MEMORY_SHORT, "held")
    assert tiles_within(1, Recipe(strength=0), *UHD) == 0  # no model runs


def test_the_memory_of_a_container_is_its_limit(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("9:name=systemd:/x\n4:cpu,memory:/a/b\n0::/c/d\n")
    limits = {"memory/a/memory.limit_in_bytes": "5000", "memory/memory.limit_in_bytes": "9000",
              "c/d/memory.max": "max", "c/memory.max": "7000"}  # fmt: skip
    for name, text in limits.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    assert sorted(memory._limits(own, root)) == [5000, 7000, 9000]
    assert memory._limits(tmp_path / "missing", root) == []
    assert 1 << 28 < machine_bytes() < 1 << 50


class Small(ThisProcess):
    """A machine with little memory."""

    def __init__(self, room: int) -> None:
        self._room = room

    def room(self) -> int:
        return self._room


def test_a_clip_that_does_not_fit_is_held_before_a_frame_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "c.mkv", Clip(frames=3, width=64, height=48))
    clips = [clip_of(tmp_path / "c.mkv")]
    work = Run.open("m.csv", clips, str(tmp_path / "out"), Recipe(), lambda event: None)
    monkeypatch.setattr(_Pass, "_add", lambda *a: pytest.fail("a frame was decoded"))
    least = predicted("base", 64, 48, 256)
    assert SurveyStage(work.settings, Small(least - 1))(clips[0]) == [ClipEnded("c")]
    result = work.settings.ledger.result("c")
    assert (result.state, result.reason) == ("held", Reason.MEMORY_SHORT)


def test_a_clip_that_fits_in_tiles_is_restored_in_tiles(tmp_path: Path) -> None:
    path, recipe = tmp_path / "c.mkv", Recipe(model="fast", clean="restore")
    write_clip(path, Clip(frames=2, width=640, height=32))
    survey = survey_clip(clip_of(path), recipe, tmp_path)
    room, (shard,) = predicted("fast", 640, 32, 256), plan_shards(survey.shots, 120)
    made = ShardRestorer(recipe, 1).restore(path, survey, shard, tmp_path / "s.mkv", room=room)
    assert made.tile == 256


MEASURE = """
import sys
from pathlib import Path
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.restore import ShardRestorer
from schemas.recipe import Recipe

recipe = Recipe(model="fast", clean="restore")
restorer = ShardRestorer(recipe, 1)
for name in sys.argv[1:]:
    survey = Survey.from_json(Path(f"{name}.json").read_bytes())
    (shard,) = plan_shards(survey.shots, recipe.shard_frames)
    restorer.restore(Path(f"{name}.mkv"), survey, shard, Path(f"{name}-out.mkv"))
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) << 10)
"""


def test_the_peak_is_within_a_fifth_of_the_prediction(tmp_path: Path) -> None:
    """A small and a middle frame, with enough frames to fill every queue."""
    sizes, recipe = [(160, 120), (400, 300)], Recipe(model="fast", clean="restore")
    for width, height in sizes:
        path = tmp_path / f"{width}.mkv"
        write_clip(path, Clip(frames=FRAMES, width=width, height=height))
        survey = survey_clip(clip_of(path), recipe, tmp_path)
        path.with_suffix(".json").write_bytes(survey.to_json())
    names = [str(tmp_path / str(width)) for width, _ in sizes]
    command = [sys.executable, "-c", MEASURE, *names]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD
    )
    shares = [
        int(peak) / predicted("fast", *size)
        for peak, size in zip(ran.stdout.split(), sizes, strict=True)
    ]
    assert all(0.8 < share < 1.2 for share in shares), shares
