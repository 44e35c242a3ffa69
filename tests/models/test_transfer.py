"""Copies from a GPU: nothing waits for one that does not answer."""

from __future__ import annotations

import pytest
import torch

from models import transfer


class Answers:
    """An event that a GPU passes before the look of that number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def query(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_copy_is_waited_for_until_the_gpu_has_passed_it() -> None:
    event = Answers(4)
    transfer.wait_for(event)
    assert event.left == 0


def test_a_gpu_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "ANSWER_SECONDS", 0.0)
    with pytest.raises(transfer.GpuSilent, match="the GPU has not answered for 0 s"):
        transfer.wait_for(Answers(10**9))


def test_tensors_of_every_type_come_back_from_one_copy() -> None:
    given = [
        torch.arange(3, dtype=torch.uint8),
        torch.rand(2, 5).half(),
        torch.rand(4, 3).T.double(),
        torch.rand(1),
    ]
    forms = [(tensor.dtype, tensor.shape) for tensor in given]
    found = transfer.unpacked(transfer.packed(given), forms)
    for one, other in zip(given, found, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
