"""Memory that runs out costs time, not the picture: tiles, then the CPU, then a reason code."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.copies import GpuSilent
from models.frame_state import Rung
from models.network import checkpoint
from models.network.memory import Ladder, OutOfMemory
from models.network.unet import RestorationNet
from models.restorer import Restorer
from pipeline.media.rgb import read_rgb
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.studio import Studio

pytestmark = pytest.mark.usefixtures("single_precision")


HEIGHT, WIDTH = 330, 600  # neither a multiple of a tile nor of MULTIPLE


@pytest.fixture(scope="module")
def net() -> RestorationNet:
    return checkpoint.load(checkpoint.shipped("fast"))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Gives the network memory for so many pixels at once; returns what it was asked for."""
    asked: list[int] = []
    real = RestorationNet.denoised

    def allow(pixels: int, error: Callable[[], Exception] = torch.OutOfMemoryError) -> list[int]:
        def restore(net: RestorationNet, window: torch.Tensor, *more: Any) -> Any:
            asked.append(window.shape[-1] * window.shape[-2])
            if asked[-1] > pixels:
                raise error()
            return real(net, window, *more)

        monkeypatch.setattr(RestorationNet, "denoised", restore)
        return asked

    return allow


def no_memory_on_the_cpu() -> Exception:
    return RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1 byte")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, no_memory_on_the_cpu])
def test_a_frame_that_does_not_fit_is_restored_in_tiles(
    error: Callable[[], Exception],
    memory: Callable[..., list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = np.random.default_rng(1)
    images = [rng.random((HEIGHT, WIDTH, 3), dtype=np.float32) for _ in range(2)]
    restorer = Restorer(device="cpu")
    sound = [r.image for r in restorer.stream(images, deflicker=False)]
    asked = memory(600 * 300, error)
    with caplog.at_level(logging.WARNING, "models.network.memory"):
        found = list(restorer.stream(images, deflicker=False))
    assert {frame.rung for frame in found} == {Rung("cpu", 256)}
    steps = [record.getMessage() for record in caplog.records]
    assert steps == [
        "out of memory with whole frames on cpu, going on with tiles of 512 pixels on cpu",
        "out of memory with tiles of 512 pixels on cpu, going on with tiles of 256 pixels on cpu",
    ]
    assert len([pixels for pixels in asked if pixels > 600 * 300]) == 2  # the second frame knows
    for frame, image in zip(found, sound, strict=True):
        np.testing.assert_allclose(frame.image, image, rtol=0, atol=1 / 255)


def test_the_last_rungs_are_those_of_the_cpu(net: RestorationNet) -> None:
    ladder = Ladder(net, 2160, 3840)
    ladder._nets = {"cuda": net}
    ladder._rungs = [Rung("cuda", 256), Rung("cpu", 0)]
    used: list[tuple[int, bool]] = []

    def attempt(found: RestorationNet, rung: Rung) -> Any:
        used.append((rung.side, found is net))
        if found is net:
            raise torch.OutOfMemoryError
        return "restored"

    assert ladder.first_that_fits(attempt) == "restored"
    assert used == [(256, True), (0, False)]
    assert ladder.rung == Rung("cpu", 0)


def test_below_the_last_rung_there_is_no_more(net: RestorationNet) -> None:
    def attempt(found: RestorationNet, rung: Rung) -> Any:
        raise torch.OutOfMemoryError

    with pytest.raises(OutOfMemory, match="tiles of 256 pixels on cpu, the last resort"):
        Ladder(net, 1080, 1920).first_that_fits(attempt)


def test_another_error_is_raised_again(net: RestorationNet) -> None:
    def attempt(found: RestorationNet, rung: Rung) -> Any:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Ladder(net, 1080, 1920).first_that_fits(attempt)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "wide.mkv"
    write_clip(path, Clip(width=608, height=64, frames=3))
    return path


def test_the_row_says_what_memory_forced(
    clip: Path, tmp_path: Path, memory: Callable[..., list[int]]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("the ladder begins on the CPU here")
    whole = Studio(tmp_path / "whole", Recipe()).publish(clip)
    assert (whole.row["tile"], whole.row["device"], whole.row["retries"]) == (None, "cpu", 0)
    memory(500 * 64)
    tiled = Studio(tmp_path / "tiled", Recipe()).publish(clip)
    assert (tiled.row["tile"], tiled.row["device"]) == (256, "cpu")
    one, other = (np.stack(list(read_rgb(done.path))).astype(int) for done in (whole, tiled))
    apart = np.abs(one - other)  # flow between restored frames can turn on a rounding
    assert apart.max() <= 2 and apart.astype(bool).mean() < 0.01  # a code value of luma or colour


def test_a_clip_beyond_all_memory_is_quarantined(
    clip: Path, tmp_path: Path, memory: Callable[..., list[int]]
) -> None:
    studio = Studio(tmp_path, Recipe())
    memory(0)
    with pytest.raises(ClipFault, match="608x64: out of memory with tiles of 256") as caught:
        studio.publish(clip)
    assert (caught.value.reason, caught.value.state) == (Reason.GPU_OOM, "quarantined")


def test_a_ladder_may_begin_with_tiles(net: RestorationNet) -> None:
    assert Ladder(net, 2160, 3840, 512).rung.side == 512
    assert Ladder(net, 300, 400, 512).rung.side == 256  # a field of a frame that needs 512
    assert Ladder(net, 64, 64, 256).rung.side == 0


def test_a_gpu_that_does_not_answer_is_a_fault_of_the_machine(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise GpuSilent("the GPU has not answered for 600 s")

    studio = Studio(tmp_path, Recipe())
    monkeypatch.setattr("models.network.stage.Ladder.first_that_fits", silent)
    with pytest.raises(ClipFault, match="the GPU has not answered for 600 s") as caught:
        studio.publish(clip)
    assert (caught.value.reason, caught.value.state) == (Reason.MODEL_TIMEOUT, "failed")
