"""The stream of frames through the restorer, at the smallest size."""

import platform
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.colour import PixelFormat
from models.copies import MOST_UP, Copies
from models.frame_state import Decoded, FrameState, Suspects
from models.graphs import Graphed
from models.motion.alignment import SPAN
from models.motion.tensors import Tensors
from models.network import checkpoint, tiling
from models.network.unet import RestorationNet
from models.restorer import CONTEXT, NETWORK_REACH, Restored, Restorer
from pipeline.prefetch import beside_gpu
from tests.support.graphs import Recorder
from tests.support.media.scenes import scene
from tests.support.networks import randomised
from tests.support.streams import LateStreams


@pytest.fixture(scope="module", params=[False, True], ids=["", "severe"])
def restorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    checkpoint.save(randomised(RestorationNet("micro", severe=request.param)), path, {})
    return Restorer(weights=path, device="cpu")


def clip(count: int) -> list[np.ndarray]:
    gains = np.exp(np.random.default_rng(3).normal(0, 0.06, count))
    wide = np.random.default_rng(4).random((40, 200, 3)).astype(np.float32) * 0.6 + 0.2
    return [np.ascontiguousarray(wide[:, i : i + 72]) * np.float32(g) for i, g in enumerate(gains)]


def view(count: int) -> list[np.ndarray]:
    """A view that pans, in which flow finds its way."""
    planes = [plane[:48, :64, None].astype(np.float32) / 255 for plane in scene(2, count, 1.0)]
    return [np.repeat(plane, 3, -1) for plane in planes]


@pytest.mark.parametrize("deflicker", [False, True])
def test_a_stream_keeps_count_and_size(restorer: Restorer, deflicker: bool) -> None:
    found = list(restorer.stream(clip(9), deflicker=deflicker))
    assert len(found) == 9
    assert all(r.image.shape == (40, 72, 3) and r.image.dtype == np.float32 for r in found)
    assert (found[3].curve.gain != 1) == deflicker


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_shards_with_context_equal_the_whole_shot(restorer: Restorer, grain: float) -> None:
    frames = clip(CONTEXT * 2 + 10)
    cut = len(frames) // 2
    frames[cut][10:16, 30:38] = 1.0
    whole = [r.image for r in restorer.stream(frames, deflicker=True, grain=grain)]
    left = list(restorer.stream(frames[: cut + CONTEXT], deflicker=True, grain=grain))[:cut]
    right = list(
        restorer.stream(
            frames[cut - CONTEXT :], deflicker=True, first_index=cut - CONTEXT, grain=grain
        )
    )[CONTEXT:]
    for whole_frame, part in zip(whole, [*left, *right], strict=True):
        assert np.array_equal(whole_frame, part.image)


def test_tensors_restore_as_opencv_does(restorer: Restorer, tmp_path: Path) -> None:
    """The same picture but for the flow's last digits, and the same from a shard."""
    path = tmp_path / "micro.safetensors"
    checkpoint.save(restorer.net, path, {})
    by_tensors = Restorer(weights=path, device="cpu", tensors=True)
    frames = view(11)
    whole = list(by_tensors.stream(frames, deflicker=False))
    for one, other in zip(restorer.stream(frames, deflicker=False), whole, strict=True):
        assert other.image.shape == one.image.shape and other.rung == one.rung
        assert 255 * np.abs(one.image - other.image).mean() < 0.5
        assert one.defect_share == pytest.approx(other.defect_share, abs=0.05)
    reach = SPAN + NETWORK_REACH
    part = by_tensors.stream(frames, deflicker=False, wanted=range(reach, len(frames)))
    for one, other in zip(part, whole[reach:], strict=True):
        assert np.array_equal(one.image, other.image)
    part = by_tensors.stream(frames[1:], deflicker=False, first_index=1)
    for one, other in list(zip(part, whole[1:], strict=True))[reach:]:
        assert np.array_equal(one.image, other.image)


def flickering(count: int) -> list[FrameState]:
    """A view that pans and flickers, with a speck in every third frame, as planes of 4:2:0."""
    pixels = PixelFormat.of("yuv420p", 8, 6, 1, 48)
    gains = np.exp(np.random.default_rng(3).normal(0, 0.06, count))
    states = []
    for index, (image, gain) in enumerate(zip(view(count), gains, strict=True)):
        luma = np.clip(np.rint(16 + 219 * gain * image[..., 0]), 0, 255).astype(np.uint8)
        if index % 3 == 1:
            luma[20:25, 30:34] = 235
        grey = np.full((24, 32), 128, np.uint8)
        states.append(FrameState.of_planes(index, Decoded((luma, grey, grey), pixels)))
    return states


@pytest.mark.parametrize("restorer", [False], indirect=True, ids=[""])
def test_planes_of_tensors_are_those_of_opencv_and_of_every_shard(
    restorer: Restorer, tmp_path: Path
) -> None:
    """From planes to planes, with the exposure corrected and the grain kept."""
    path = tmp_path / "micro.safetensors"
    checkpoint.save(restorer.net, path, {})
    by_tensors = Restorer(weights=path, device="cpu", tensors=True, batch=4)
    count = CONTEXT + 4
    given: dict[str, Any] = {"deflicker": True, "grain": 1.0}
    one, other = (
        list(which.run(iter(flickering(count)), **given)) for which in (restorer, by_tensors)
    )
    changed = []
    for frame, ours, theirs in zip(flickering(count), one, other, strict=True):
        assert ours.planes is not None and theirs.planes is not None and frame.decoded is not None
        assert np.isnan(theirs.image).all() and theirs.image.shape == ours.image.shape
        assert theirs.curve.gain == pytest.approx(ours.curve.gain, abs=0.02)
        assert (ours.rung.batch, theirs.rung.batch) == (1, 4)
        for here, there, source in zip(
            ours.planes, theirs.planes, frame.decoded.planes, strict=True
        ):
            assert np.abs(here.astype(int) - there).mean() < 1
            changed.append(np.abs(there.astype(int) - source).mean())
    assert max(changed) > 3
    # with a thread and graphs, as beside a GPU, and with other frames in the first batch
    read, given = iter(flickering(count)[1:]), given | {"watch": beside_gpu}
    recorder, engine = Recorder(), by_tensors.engine
    assert isinstance(engine, Tensors)
    by_tensors._whole = Graphed(partial(tiling.whole_frames, by_tensors.net), recorder)
    for finest, flow in engine._flows.items():
        engine._flows[finest] = Graphed(flow, recorder)
    part = list(by_tensors.run(read, wanted=range(CONTEXT + 1, count), **given))
    assert len(part) == 3 and recorder.records >= 2 and recorder.replays > 2 * count
    for ours, theirs in zip(part, other[-3:], strict=True):
        assert ours.planes is not None and theirs.planes is not None
        assert ours.repairs == theirs.repairs and ours.curve == theirs.curve
        for here, there in zip(ours.planes, theirs.planes, strict=True):
            assert np.array_equal(here, there)


@pytest.mark.parametrize("restorer", [False], indirect=True, ids=[""])
def test_copies_that_come_late_change_nothing(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From planes to planes, on a device whose copies happen when they are waited for."""
    path = tmp_path / "micro.safetensors"
    checkpoint.save(restorer.net, path, {})
    by_tensors = Restorer(weights=path, device="cpu", tensors=True, batch=2)

    def run() -> list[Restored]:
        return list(by_tensors.run(iter(flickering(9)), deflicker=True, grain=0.5))

    plain, streams = run(), LateStreams()
    there = Copies(streams)
    monkeypatch.setattr("models.transfer.copies_of", lambda device: there)
    late = run()
    up, down = streams.streams
    assert up.done == streams.kept == streams.sent > 6 * 9 and down.done >= 2 * 9
    assert max(up.late, down.late) == 0 and streams.most_late <= MOST_UP
    for ours, theirs in zip(plain, late, strict=True):
        assert ours.planes is not None and theirs.planes is not None
        assert ours.repairs == theirs.repairs and ours.curve == theirs.curve
        for here, other in zip(ours.planes, theirs.planes, strict=True):
            assert np.array_equal(here, other)


@pytest.mark.parametrize("deflicker", [False, True])
def test_only_the_frames_that_are_wanted_cost_the_network(
    restorer: Restorer, deflicker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, runs = clip(16), []
    whole = list(restorer.stream(frames, deflicker=deflicker, first_index=40))
    real = RestorationNet.denoised

    def counted(net: RestorationNet, *given: Any) -> Any:
        runs.append(1)
        return real(net, *given)

    monkeypatch.setattr(RestorationNet, "denoised", counted)
    part = list(restorer.stream(frames, deflicker=deflicker, first_index=40, wanted=range(44, 49)))
    assert len(part) == 5 and len(runs) == 5 + 2 * NETWORK_REACH
    for one, other in zip(part, whole[4:9], strict=True):
        assert np.array_equal(one.image, other.image) and one.curve == other.curve


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
def test_the_gpu_gives_the_same_picture(restorer: Restorer, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    checkpoint.save(restorer.net.cpu(), path, {})
    on_gpu = Restorer(weights=path, device="cuda", batch=2)  # its third batch is a graph
    on_cpu = Restorer(weights=path, device="cpu", tensors=True)
    for a, b in zip(
        on_cpu.stream(view(7), deflicker=False),
        on_gpu.stream(view(7), deflicker=False),
        strict=True,
    ):
        assert 255 * np.abs(a.image - b.image).mean() < 0.5  # bf16 autocast on the GPU
    torch.cuda.set_sync_debug_mode("error")  # what is made once was made above
    try:
        assert len(list(on_gpu.stream(view(7), deflicker=False))) == 7
    finally:
        torch.cuda.set_sync_debug_mode("default")


FAULTS = """
import ctypes, resource, sys
from models.restorer import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [libc.malloc(48 << 20) for _ in range(3)]
    for buffer in buffers:
        ctypes.memset(buffer, 1, 48 << 20)
    for buffer in reversed(buffers):
        libc.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_freed_memory_is_kept_for_the_next_frame() -> None:
    faults = {
        kept: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, kept], capture_output=True, check=True, text=True
            ).stdout
        )
        for kept in ("keep", "leave")
    }
    assert faults["leave"] > 1000 > 100 > faults["keep"]


@pytest.mark.parametrize(("grain", "suspects"), [(0.5, "leave"), (1.0, "scratches")])
def test_other_recipes_get_whole_frames(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, grain: float, suspects: Suspects
) -> None:
    real, pixels = RestorationNet.denoised, []

    def counted(net: RestorationNet, window: torch.Tensor, *given: Any) -> Any:
        pixels.append(window.shape[-2] * window.shape[-1])
        return real(net, window, *given)

    monkeypatch.setattr(RestorationNet, "denoised", counted)
    list(restorer.stream(view(3), deflicker=False, grain=grain, suspects=suspects))
    assert pixels == [48 * 64] * 3
