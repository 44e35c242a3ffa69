"""The network runs where a repair is possible, and the picture there is that of the whole frame."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from models.fidelity.places import places_of
from models.fidelity.regions import change_in, mask_of
from models.frame_state import FrameState, number_frames
from models.motion.engine import Engine
from models.motion.engines import engine_of
from models.motion.windows import align_windows
from models.network.stage import NetworkStage, restore_window
from models.network.tiling import whole_frames
from models.network.unet import RestorationNet
from tests.support.media.scenes import scene
from tests.support.networks import randomised

pytestmark = pytest.mark.usefixtures("single_precision")
HEIGHT, WIDTH = 208, 320
FIND = partial(places_of, accepted={})


@pytest.fixture(scope="module")
def net() -> RestorationNet:
    return randomised(RestorationNet("micro", severe=True))


def still_view(tensors: bool) -> list[FrameState]:
    """Two aligned frames of a still view; the first has a speck."""
    rng = np.random.default_rng(7)
    still = np.repeat(scene(5, 1)[0][:104, :160, None], 3, -1).astype(np.float32) / 255
    still = np.repeat(np.repeat(still, 2, 0), 2, 1)
    frames = [still + rng.normal(0, 1 / 255, still.shape).astype(np.float32) for _ in range(4)]
    frames[1][60:68, 70:79] = 1.0
    engine: Engine = engine_of(torch.device("cpu"), tensors=tensors)
    return list(align_windows(engine.raised(number_frames(frames)), "coarse", (1, 2), engine))


@pytest.fixture(scope="module")
def aligned() -> list[FrameState]:
    """The view by OpenCV."""
    return still_view(tensors=False)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pixels that the network computes, a number for each call."""
    real, counts = RestorationNet.denoised, list[int]()

    def counted(net: RestorationNet, window: torch.Tensor, *given: Any) -> Any:
        counts.append(window.shape[-2] * window.shape[-1])
        return real(net, window, *given)

    monkeypatch.setattr(RestorationNet, "denoised", counted)
    return counts


def test_only_places_cost_the_network(
    net: RestorationNet,
    aligned: list[FrameState],
    pixels: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> list[FrameState]:
        return list(NetworkStage(net, 1, find_places=FIND).run(iter(aligned)))

    parts = run()
    assert len(pixels) == 1 and pixels[0] < HEIGHT * WIDTH / 2
    assert parts[0].places and parts[1].places == ()
    assert 255 * np.abs(parts[0].image - parts[0].source).max() > 5
    assert np.array_equal(parts[1].image, parts[1].source)
    with monkeypatch.context() as patch:
        patch.setattr("models.network.tiling.covering", lambda *given: None)
        wholes = run()
    assert sum(pixels[1:]) == 2 * HEIGHT * WIDTH
    for part, whole in zip(parts, wholes, strict=True):
        assert part.places == whole.places
        assert 255 * np.abs(part.image - whole.image).max() < 1
        assert part.source_share == pytest.approx(whole.source_share, abs=1e-3)
        assert part.predicted_error == pytest.approx(whole.predicted_error, abs=0.1)


def test_a_device_restores_the_whole_frame_and_finds_the_same_places(
    net: RestorationNet, pixels: list[int]
) -> None:
    """Its pictures stay there, and planes for the evidence come to the CPU."""
    stage, aligned = NetworkStage(net, 1, find_places=FIND), still_view(tensors=True)
    here = list(stage.run(replace(frame, on_device=None) for frame in aligned))
    pixels.clear()
    there = list(stage.run(aligned))
    assert pixels == [HEIGHT * WIDTH] * 2
    for one, other in zip(here, there, strict=True):
        assert one.places == other.places and one.seen is not None and other.seen is not None
        assert [r.box for r in one.seen.regions] == [r.box for r in other.seen.regions]
        assert other.image is other.source and other.neighbours is None
        assert other.on_device is not None and other.on_device.neighbours is not None
        for moved in (change_in(one), change_in(other)):
            assert np.abs(moved).max() > 5 if one.places else np.abs(moved).max() < 0.5


def test_a_whole_frame_is_restored_alike_by_a_function_of_its_own(net: RestorationNet) -> None:
    """As a graph replays it: without places, on the first rung; frames of any sides."""
    window = still_view(tensors=True)[0].window
    assert window is not None
    small = window._replace(frames=window.frames[..., :75, :90], trust=window.trust[..., :75, :90])
    runs: list[int] = []

    def whole(*given: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        found = whole_frames(net, *given)
        assert not found.is_inference()  # a graph writes to its memory again
        return found

    plain, graphed = NetworkStage(net, 1), NetworkStage(net, 1, whole=whole)
    one, other = (stage.restore(stage.ladder(small), small, 3) for stage in (plain, graphed))
    assert runs == [1]
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
    given: dict[str, Any] = {"steps": 1, "seed": 3, "whole": whole}
    restore_window(net, small.frames, small.trust, side=32, **given)
    restore_window(net, small.frames, small.trust, places=(), **given)
    restore_window(net, small.frames, small.trust, **given | {"steps": 2})
    assert runs == [1]


def test_places_are_restored_in_smaller_tiles_when_memory_runs_out(
    net: RestorationNet, aligned: list[FrameState], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = next(NetworkStage(net, 1, find_places=FIND).run(iter(aligned)))
    real, least = RestorationNet.denoised, 160 * 160

    def small(net: RestorationNet, window: torch.Tensor, *given: Any) -> Any:
        if window.shape[-2] * window.shape[-1] > least:
            raise MemoryError
        return real(net, window, *given)

    def wide(seen: object, index: int) -> tuple[tuple[int, int, int, int], ...]:
        return (whole.places or ()) + ((96, 48, 112, 32),)

    monkeypatch.setattr(RestorationNet, "denoised", small)
    monkeypatch.setattr("models.network.memory.SIDES", (128, 32))
    found = next(NetworkStage(net, 1, find_places=wide).run(iter(aligned)))
    assert found.rung is not None and found.rung.side == 32
    inside = mask_of(whole.places or (), HEIGHT, WIDTH)
    assert inside.any() and 255 * np.abs(found.image - whole.image)[inside].max() < 1


def test_without_a_known_noise_the_whole_frame_is_restored(
    net: RestorationNet, aligned: list[FrameState], pixels: list[int]
) -> None:
    window = aligned[0].window
    assert window is not None
    unmatched = replace(aligned[0], window=window._replace(trust=torch.zeros_like(window.trust)))
    (found,) = NetworkStage(net, 1, find_places=FIND).run([unmatched])
    assert found.places is None and pixels == [HEIGHT * WIDTH]
