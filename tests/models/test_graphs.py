"""A graph gives what its function gives; where there is no graph, the function runs as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models import graphs
from models.graphs import AS_THEY_ARE, MOST, Graphed
from tests.support.graphs import Recorder


def plus(one: Tensor, other: Tensor) -> Tensor:
    return one + 2 * other


def pair(seed: int, side: int = 4) -> tuple[Tensor, Tensor]:
    drawn = torch.rand(2, side, side, generator=torch.Generator().manual_seed(seed))
    return drawn[0], drawn[1]


def test_a_graph_gives_what_the_function_gives() -> None:
    recorder = Recorder()
    graph = Graphed(plus, recorder)
    made = [graph(*pair(seed)) for seed in range(6)]
    assert recorder.records == 1 and recorder.replays == 6 - AS_THEY_ARE
    for seed, found in enumerate(made):  # the memory of the graph was written to since
        assert torch.equal(found, plus(*pair(seed)))


def test_few_sizes_keep_their_graph() -> None:
    recorder = Recorder()
    graph = Graphed(plus, recorder)
    sides = [side for side in range(3, 4 + MOST) for _ in range(AS_THEY_ARE + 1)]
    for seed, side in enumerate((*sides, *sides)):
        assert torch.equal(graph(*pair(seed, side)), plus(*pair(seed, side)))
    assert recorder.records == 2 * (MOST + 1)  # one is dropped for the next
    assert len(graph._made) == MOST
    graph.forget()
    assert not graph._made


@pytest.mark.parametrize("error", [RuntimeError("no capture"), torch.OutOfMemoryError("full")])
def test_without_a_graph_the_function_runs_as_it_is(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise error

    graph = Graphed(plus, fails)
    for seed in range(5):
        assert torch.equal(graph(*pair(seed)), plus(*pair(seed)))
    assert len(caplog.records) == 1 and "no CUDA graph of plus" in caplog.text


def test_threads_that_share_a_graph_have_results_of_their_own() -> None:
    """As the two fields of a frame do: one comes while the other's is replayed."""
    threads: list[threading.Thread] = []
    found: dict[int, Tensor] = {}

    def ask(seed: int) -> None:
        found[seed] = graph(*pair(seed))

    class Interrupted(Recorder):
        def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
            replay = super().__call__(run)

            def replay_late() -> Tensor:
                if not threads:
                    threads.append(threading.Thread(target=ask, args=(9,), daemon=True))
                    threads[0].start()
                    threads[0].join(0.3)  # it would be done, if it could be
                return replay()

            return replay_late

    graph = Graphed(plus, Interrupted())
    for seed in range(AS_THEY_ARE + 1):
        ask(seed)
    threads[0].join(60)
    for seed in (AS_THEY_ARE, 9):
        assert torch.equal(found[seed], plus(*pair(seed)))


def test_a_cpu_has_no_graphs() -> None:
    assert graphs.graphed(plus, torch.device("cpu")) is plus
    assert isinstance(graphs.graphed(plus, torch.device("cuda")), Graphed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
def test_a_gpu_replays_a_graph() -> None:
    graph, device = Graphed(plus), torch.device("cuda")
    for seed in range(5):
        given = [one.to(device) for one in pair(seed)]
        assert torch.equal(graph(*given).cpu(), plus(*pair(seed)))
    assert graph._made and not graph._given_up
