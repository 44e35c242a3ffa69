"""Copies beside the work of a GPU: in order, late, bounded, and never waited for without an end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from models import copies, transfer
from models.copies import AHEAD, IN_FLIGHT, Copies, Uncopied, copies_of
from models.frame_state import FrameState, number_frames
from tests.support.streams import LateStreams

CPU = torch.device("cpu")


class Answers:
    """An event that a GPU passes before the look of that number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def query(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_copy_is_waited_for_until_the_gpu_has_passed_it() -> None:
    event = Answers(4)
    copies.wait_for(event)
    assert event.left == 0


def test_a_gpu_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "ANSWER_SECONDS", 0.0)
    with pytest.raises(copies.GpuSilent, match="the GPU has not answered for 0 s"):
        copies.wait_for(Answers(10**9))


def test_tensors_of_every_type_come_back_from_one_copy() -> None:
    given = [
        torch.arange(3, dtype=torch.uint8),
        torch.rand(2, 5).half(),
        torch.rand(4, 3).T.double(),
        torch.rand(1),
    ]
    forms = [(tensor.dtype, tensor.shape) for tensor in given]
    found = copies.unpacked(copies.packed(given), forms)
    for one, other in zip(given, found, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def planes(seed: int) -> list[np.ndarray]:
    """Arrays of every type that goes up."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 255, (6, 8), np.uint8),
        rng.integers(-9, 9, (3, 4), np.int16),
        rng.random((6, 8)).astype(np.float32)[::2],
        rng.random((6, 8)) > 0.5,
        rng.integers(0, 9, 5),
    ]


def test_what_goes_up_is_there_when_it_is_asked_for() -> None:
    """The fake copies as late as it may: without a wait the tensor would still be POISON."""
    streams = LateStreams(looks=10**6)
    there = Copies(streams)
    going = [(array, there.begin(array)) for array in planes(0)]
    assert streams.sent == 5 and streams.streams[0].late == 5  # they wait for no one
    for array, ready in going:
        found = ready()
        assert np.array_equal(found.numpy(), array) and found.numpy().dtype == array.dtype
    assert streams.kept == 5  # memory of another stream


def test_an_array_may_change_once_it_is_on_its_way() -> None:
    array, there = np.arange(6, dtype=np.float32), Copies(LateStreams())
    ready = there.begin(array)
    array += 1
    assert ready().tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_on_its_way_is_bounded_and_its_memory_let_go() -> None:
    """The memory that a copy reads stays until then; the fake poisons what is dropped."""
    streams = LateStreams(looks=10**6)  # a slow GPU
    there = Copies(streams, most=4)
    going = []
    for seed in range(4):
        array = np.full((5, 7), seed, np.uint8)
        going.append((array, there.begin(array)))
    assert streams.streams[0].late == 4 and len(streams._memory) == 4
    for array, ready in going:
        assert np.array_equal(ready().numpy(), array)
    streams = LateStreams(looks=3)
    there = Copies(streams, most=4)
    found = [there.begin(np.full((5, 7), seed, np.uint8)) for seed in range(40)]
    assert streams.most_late <= 4 and streams.most_pinned <= 5 and streams.pins == 40
    for seed, ready in enumerate(found):
        assert np.array_equal(ready().numpy(), np.full((5, 7), seed, np.uint8))


def test_a_gpu_that_takes_no_copy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "ANSWER_SECONDS", 0.0)
    there = Copies(LateStreams(looks=10**9), most=2)
    there.begin(np.zeros(3)), there.begin(np.zeros(3))
    with pytest.raises(copies.GpuSilent):
        there.begin(np.zeros(3))


def test_what_comes_down_is_read_after_it_was_made_and_before_it_is_dropped() -> None:
    streams = LateStreams()
    there = Copies(streams)
    waits = []
    for seed in range(3):
        made = [torch.full((2, 3), float(seed)), torch.full((4,), seed, dtype=torch.uint8)]
        waits.append(there.back(made))
    down = streams.streams[1]
    assert down.late == 3  # nothing was waited for
    for seed, wait in enumerate(waits):
        large, small = wait()
        assert torch.equal(large, torch.full((2, 3), float(seed))) and small.tolist() == 4 * [seed]
        assert down.late == 2 - seed
    del waits, wait
    assert len(streams._memory) == 1  # what is still read
    del large, small
    assert not streams._memory


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> LateStreams:
    """The CPU as a device with late streams."""
    streams = LateStreams()
    there = Copies(streams)
    monkeypatch.setattr(transfer, "copies_of", lambda device: there)
    return streams


def test_frames_go_up_ahead_and_land_late_with_flat_memory(late: LateStreams) -> None:
    begun: list[int] = []

    def going() -> Iterator[tuple[FrameState, transfer.Ready]]:
        for frame in number_frames(np.full((4, 4, 3), k, np.float32) for k in range(30)):
            begun.append(frame.index)
            yield frame, transfer.begun_up(frame.source, CPU)

    def made() -> Iterator[tuple[FrameState, list[Tensor]]]:
        for frame, source in transfer.sent_ahead(going(), CPU):
            assert len(begun) == min(frame.index + 1 + AHEAD, 30)
            made_of.append(frame.index)
            yield frame, [2 * source]

    made_of: list[int] = []
    for frame, (found,) in transfer.landed(made()):
        assert torch.equal(found, torch.full((4, 4, 3), 2.0 * frame.index))
        assert len(made_of) == min(frame.index + 1 + IN_FLIGHT, 30)
    assert late.kept == 30 and late.most_pinned <= copies.MOST_UP + IN_FLIGHT + 3
    assert late.streams[1].done == 30


def test_a_cpu_copies_nothing() -> None:
    there = copies_of(CPU)
    assert isinstance(there, Uncopied) and there.ahead == there.in_flight == 0
    array, tensors = np.zeros((2, 3), np.float32), [torch.zeros(3)]
    assert there.begin(array)().data_ptr() == array.ctypes.data
    assert there.back(tensors)() is tensors
    assert transfer.sent(tensors[0], CPU) is tensors[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
def test_a_gpu_copies_both_ways_without_being_waited_for() -> None:
    device = torch.device("cuda")
    there = copies_of(device)
    assert isinstance(there, Copies) and copies_of(torch.device("cuda", 0)) is there
    transfer.up(np.zeros(3), device)  # what is made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        arrays = [np.full((1080, 1920), k, np.float32) for k in range(20)]
        waits = [there.back([transfer.up(array, device) + 1]) for array in arrays]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for array, wait in zip(arrays, waits, strict=True):
        assert np.array_equal(wait()[0].numpy(), array + 1)
