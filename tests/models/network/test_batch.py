"""Windows in batches: the same picture, in order, at the same place in every shard."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.fidelity.damage_level import FEATURES
from models.frame_state import AlignedWindow, FrameState, OnDevice, Rung
from models.graphs import Graphed
from models.motion.alignment import OFFSETS
from models.network.batch import BYTES_A_FURTHER, MOST, PIXELS, batch_of, grouped, needed, slots
from models.network.memory import Ladder
from models.network.stage import NetworkStage, window_of
from models.network.tiling import restore_whole, whole_frames
from models.network.unet import RestorationNet
from tests.support.graphs import Recorder
from tests.support.networks import randomised

pytestmark = pytest.mark.usefixtures("single_precision")
HEIGHT, WIDTH = 44, 60  # no multiples of MULTIPLE


@pytest.fixture(scope="module")
def net() -> RestorationNet:
    return randomised(RestorationNet("micro", severe=True))


def frames(indices: range, ends: range | None = None) -> Iterator[FrameState]:
    """Frames of a noisy view, on a "device", with windows whose content is of their number.

    Those at ``ends`` have no neighbours after them, as at a shot's end.
    """
    for index in indices:
        drawn = torch.Generator().manual_seed(index)
        still = torch.linspace(0.2, 0.8, WIDTH).expand(1 + len(OFFSETS), 3, HEIGHT, WIDTH)
        window = still + 0.05 * torch.randn(still.shape, generator=drawn)
        trust = torch.rand(len(OFFSETS), HEIGHT, WIDTH, generator=drawn)
        offsets = OFFSETS if ends is None or index not in ends else (-2, -1)
        source = window[0].contiguous()
        read = FrameState.read(index, np.zeros((HEIGHT, WIDTH, 3), np.float32))
        yield replace(
            read,
            window=AlignedWindow(window, trust, offsets),
            on_device=OnDevice(source, source),
        )


class Whole:
    """The network over whole frames, which notes the batches and may lack memory."""

    def __init__(self, net: RestorationNet, most: int = MOST) -> None:
        self.net, self.most = net, most
        self.given: list[Tensor] = []

    def __call__(self, windows: Tensor, *more: Tensor) -> Tensor:
        if len(windows) > self.most:
            raise torch.OutOfMemoryError
        self.given.append(windows[:, 0, 0, 0, 0])
        return whole_frames(self.net, windows, *more)


def restored(net: RestorationNet, batch: int, given: Iterator[FrameState]) -> list[FrameState]:
    whole = partial(whole_frames, net)
    return list(NetworkStage(net, 1, whole=whole, batch=batch).run(given))


def picture(frame: FrameState) -> Tensor:
    assert frame.on_device is not None
    return frame.on_device.image


def test_small_frames_share_larger_batches() -> None:
    gpu = 139 << 30
    sizes = (352, 288), (720, 576), (1280, 720), (1920, 1080), (3840, 2160)
    assert [batch_of(h, w, gpu) for w, h in sizes] == [8, 8, 4, 2, 1]
    for room in range(1 << 28, 1 << 33, 1 << 27):
        count = batch_of(576, 720, room)
        assert count in (1, 2, 4, 8)
        assert count == 1 or needed(576, 720, count) <= room
        assert count == MOST or needed(576, 720, 2 * count) > room
    assert needed(10, 10, 3) - needed(10, 10, 2) == 100 * BYTES_A_FURTHER and PIXELS < 2**23


def test_a_group_ends_with_its_last_number_and_waits_for_no_other() -> None:
    pulled: list[int] = []

    def read() -> Iterator[FrameState]:
        for frame in frames(range(6, 16)):
            pulled.append(frame.index)
            yield frame

    found = []
    for group in grouped(read(), lambda frame: 4):
        found.append([frame.index for frame in group])
        assert pulled[-1] == found[-1][-1]
    assert found == [[6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    sizes = iter((4, 2, 2, 1, 1))
    groups = grouped(frames(range(4, 11)), lambda frame: next(sizes))
    assert [[f.index for f in group] for group in groups] == [[4, 5, 6, 7], [8, 9], [10]]
    apart = [frame for frame in frames(range(9)) if frame.index != 4]
    assert [len(group) for group in grouped(apart, lambda frame: 4)] == [4, 3, 1]


def test_a_frame_has_the_same_place_wherever_its_shard_begins() -> None:
    assert slots("abc", [1, 2, 3], 4) == ["a", "a", "b", "c"]
    assert slots("abc", [2], 4) == ["a"] * 4


def test_batches_give_the_pictures_of_single_windows_in_order(net: RestorationNet) -> None:
    """Rounding may differ with the batch; what follows from it may by far less than a level."""
    ends = range(9, 11)
    alone, together = (restored(net, batch, frames(range(11), ends)) for batch in (1, 4))
    assert [frame.index for frame in together] == list(range(11))
    assert {frame.rung for frame in alone} == {Rung("cpu", 0)}
    assert {frame.rung for frame in together} == {Rung("cpu", 0, 4)}
    for one, other in zip(alone, together, strict=True):
        assert 255 * (picture(one) - picture(other)).abs().max() < 0.05
        assert one.noise == other.noise and other.window is None
        assert one.source_share == pytest.approx(other.source_share, abs=1e-4)
        assert one.compared is not None and other.compared is not None
        assert np.array_equal(one.compared.differences, other.compared.differences)


def test_a_shard_gives_the_bytes_of_the_whole_clip(net: RestorationNet) -> None:
    """It pads its first and its last batch, and every batch has the same number of windows."""
    whole = Whole(net)
    clip = restored(net, 4, frames(range(12)))
    stage = NetworkStage(net, 1, whole=whole, batch=4)
    for shard in (range(3), range(3, 6), range(6, 11)):
        whole.given.clear()
        found = list(stage.run(frames(shard)))
        for frame in found:
            assert torch.equal(picture(frame), picture(clip[frame.index]))
            assert frame.predicted_error == clip[frame.index].predicted_error
        assert {len(batch) for batch in whole.given} == {4}
        for frame in frames(shard):
            batch = whole.given[frame.index // 4 - shard.start // 4]
            assert batch[frame.index % 4] == window_of(frame).frames[0, 0, 0, 0]


def test_without_memory_for_a_batch_smaller_ones_follow(
    net: RestorationNet, caplog: pytest.LogCaptureFixture
) -> None:
    sound, whole = restored(net, 1, frames(range(11))), Whole(net)
    stage = NetworkStage(net, 1, whole=whole, batch=8)
    found: list[FrameState] = []
    with caplog.at_level(logging.WARNING, "models.network.memory"):
        for frame in stage.run(frames(range(11))):
            whole.most = 1
            found.append(frame)
    assert [frame.index for frame in found] == list(range(11))
    rungs = [frame.rung.batch for frame in found if frame.rung is not None]
    assert rungs == [8] * 8 + [1] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory with batches of 8 whole frames on cpu, "
        "going on with batches of 4 whole frames on cpu",
        "out of memory with batches of 4 whole frames on cpu, "
        "going on with batches of 2 whole frames on cpu",
        "out of memory with batches of 2 whole frames on cpu, going on with whole frames on cpu",
    ]
    for one, other in zip(sound, found, strict=True):
        assert 255 * (picture(one) - picture(other)).abs().max() < 0.05


def test_a_group_is_split_when_its_batch_does_not_fit(net: RestorationNet) -> None:
    """The frames that wait go on in smaller batches, at the places of these."""
    whole = Whole(net, most=2)
    stage = NetworkStage(net, 1, whole=whole, batch=8)
    found = list(stage.run(frames(range(3, 8))))
    assert [frame.index for frame in found] == [3, 4, 5, 6, 7]
    assert {frame.rung for frame in found} == {Rung("cpu", 0, 2)}
    given = [window_of(frame).frames[0, 0, 0, 0] for frame in frames(range(3, 8))]
    assert [batch.tolist() for batch in whole.given] == [
        [given[0], given[0]], [given[1], given[2]], [given[3], given[4]],
    ]  # fmt: skip
    again = restored(net, 2, frames(range(3, 8)))
    for one, other in zip(found, again, strict=True):
        assert torch.equal(picture(one), picture(other))


def test_the_rungs_of_a_gpu_begin_with_its_batches(net: RestorationNet) -> None:
    ladder = Ladder(net, 1080, 1920, 0, 4)
    ladder._rungs = [replace(rung, device="cuda") for rung in ladder._rungs]
    names = [str(rung) for rung in ladder._rungs[:4]]
    assert names == [
        "batches of 4 whole frames on cuda", "batches of 2 whole frames on cuda",
        "whole frames on cuda", "tiles of 1024 pixels on cuda",
    ]  # fmt: skip
    assert Ladder(net, 1080, 1920, 512, 4).rung == Rung("cpu", 512)


def test_graphs_are_given_back_before_the_next_attempt(net: RestorationNet) -> None:
    """Their memory is what a smaller batch needs."""
    graph = Graphed(partial(whole_frames, net), Recorder())
    stage = NetworkStage(net, 1, whole=graph, batch=2)
    list(stage.run(frames(range(8))))
    assert len(graph._made) == 1
    ladder = stage.ladder(window_of(next(frames(range(1)))), 2)
    held: list[int] = []

    def attempt(found: RestorationNet, rung: Rung) -> str:
        held.append(len(graph._made))
        if rung.batch > 1:
            raise torch.OutOfMemoryError
        return "restored"

    assert ladder.first_that_fits(attempt) == "restored" and held == [1, 0]


@pytest.mark.parametrize("batch", [1, 4])
def test_no_more_windows_are_held_than_a_batch_has(net: RestorationNet, batch: int) -> None:
    alive: deque[weakref.ref[Tensor]] = deque()
    most = 0

    def read() -> Iterator[FrameState]:
        for frame in frames(range(24)):
            alive.append(weakref.ref(window_of(frame).frames))
            yield frame

    whole = partial(whole_frames, net)
    for _ in NetworkStage(net, 1, whole=whole, batch=batch).run(read()):
        most = max(most, sum(window() is not None for window in alive))
    assert most <= batch + 1


def test_batches_are_for_whole_frames_in_one_step(net: RestorationNet) -> None:
    whole: Any = partial(whole_frames, net)
    for given in (
        {"steps": 2},
        {"steps": 1, "side": 32},
        {"steps": 1, "find_places": lambda *_: ()},
    ):
        stage = NetworkStage(net, whole=whole, batch=4, **given)
        read = (replace(frame, on_device=None) for frame in frames(range(2)))
        assert all(frame.rung.batch == 1 for frame in stage.run(read) if frame.rung)
    stage = NetworkStage(net, 1, batch=4)  # without a function for whole frames
    assert {frame.rung for frame in stage.run(frames(range(2)))} == {Rung("cpu", 0)}


def test_windows_go_where_the_network_is_and_planes_come_back(net: RestorationNet) -> None:
    """As on a GPU with motion followed on the CPU."""
    windows = [window_of(frame) for frame in frames(range(2))]
    elsewhere = torch.device("meta")
    seen: list[torch.device] = []

    def whole(*given: Tensor) -> Tensor:
        seen.extend(one.device for one in given)
        return torch.zeros(2, 6, 48, 64)

    levels = torch.zeros(2, FEATURES, device=elsewhere)
    stacked = torch.stack([window.frames for window in windows])
    planes = restore_whole(
        whole, stacked, torch.stack([window.trust for window in windows]), levels
    )
    assert set(seen) == {elsewhere} and planes[1].image.shape == (3, HEIGHT, WIDTH)
    assert planes[1].image.device.type == "cpu" and len(planes) == 2
