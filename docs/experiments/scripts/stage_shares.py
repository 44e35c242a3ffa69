"""CPU-milliseconds of each stage from planes to planes, and what of them is operations of tensors.

Run: python docs/experiments/scripts/stage_shares.py [--width 1920] [--height 1080] [--frames 6]

Motion is followed by tensors, on one thread of the CPU. On a GPU the operations of tensors are its
work; the rest stays the CPU's. The frames are drawn, and flicker.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.evaluate.gpu_check import drawn
from models.colour import PixelFormat
from models.frame_state import Decoded, FrameState
from models.restorer import Restorer, limit_threads


class Shares(TorchDispatchMode):
    """CPU-seconds of each stage: of its own, and of the operations of tensors in it."""

    def __init__(self) -> None:
        super().__init__()
        self.all: dict[str, float] = defaultdict(float)
        self.tensors: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._at: list[str] = []
        self._inner: list[float] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        started = time.thread_time()
        made = func(*args, **(kwargs or {}))
        if self._at:
            self.tensors[self._at[-1]] += time.thread_time() - started
            self.calls[self._at[-1]] += 1
        return made

    def watch(self, stage: str, frames: Iterator[FrameState]) -> Iterator[FrameState]:
        while True:
            started = time.thread_time()
            self._at.append(stage)
            self._inner.append(0.0)
            frame = next(frames, None)
            taken = time.thread_time() - started
            self._at.pop()
            self.all[stage] += taken - self._inner.pop()
            if self._inner:
                self._inner[-1] += taken
            if frame is None:
                return
            yield frame


def seconds_of_a_call() -> float:
    """What an operation takes beside its own work: this script, and PyTorch's way to it."""
    with Shares() as shares:
        one = torch.ones(1)
        def added() -> Iterator[Any]:
            for _ in range(5000):
                torch.add(one, one, alpha=2)
            yield None

        (*shares.watch("calls", added()),)
    return (shares.all["calls"] - shares.tensors["calls"]) / shares.calls["calls"]


def planes(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    """Planes of 8 bits, 4:2:0, of a picture (H, W, 3) uint8; sides are even."""
    height, width = picture.shape[:2]
    luma, rest = np.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).ravel(), [height * width])
    return luma.reshape(height, width), *rest.reshape(2, height // 2, width // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="fast")
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--frames", type=int, default=6)
    given = parser.parse_args()
    limit_threads(1)
    pixels = PixelFormat.of("yuv420p", 8, 2, 1, given.height)
    pictures = drawn(given.frames, given.width, given.height)
    decoded = [Decoded(planes(picture), pixels) for picture in pictures]
    states = (FrameState.of_planes(index, one) for index, one in enumerate(decoded))
    restorer = Restorer(given.size, device="cpu", tensors=True)
    with Shares():  # what is loaded once is loaded here
        list(restorer.stream([np.zeros((64, 64, 3), np.float32)] * 2, deflicker=False))
    with Shares() as shares:
        stream = restorer.run(states, deflicker=True, grain=1.0, watch=shares.watch)
        assert all(one.planes for one in stream)
    print("| stage | ms | of these not tensors |\n|---|--:|--:|")
    each, own = seconds_of_a_call(), 0.0
    for stage, taken in shares.all.items():
        rest = max(taken - shares.tensors[stage] - each * shares.calls[stage], 0.0)
        own += rest
        print(f"| {stage} | {1000 * taken / given.frames:.0f} | {1000 * rest / given.frames:.0f} |")
    calls = sum(shares.calls.values()) / given.frames
    print(f"\nnot tensors, all stages: {1000 * own / given.frames:.0f} ms a frame")
    print(f"{calls:.0f} operations of tensors a frame, {1e6 * each:.0f} us beside each")


if __name__ == "__main__":
    main()
