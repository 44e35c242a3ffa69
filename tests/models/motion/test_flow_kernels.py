"""The kernels of the flow do what plain PyTorch does, which stands in where they cannot run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.graphs import graphed
from models.motion import tensor_flow
from models.motion.kernel_check import kernel_check
from models.motion.patches import KernelError, Patches
from models.motion.tensor_flow import FormOf, Kernels, flow, flow_by
from tests.support.paths import ROOT

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="no Triton")


def pictures(height: int = 40, width: int = 56) -> tuple[Tensor, Tensor]:
    """Two pictures (1, H, W) in code values; the second is the first two pixels further left."""
    drawn = torch.rand(
        1, 1, height // 4, width // 4 + 1, generator=torch.Generator().manual_seed(0)
    )
    wide = 255 * torch.nn.functional.interpolate(drawn, (height, width + 2), mode="bicubic")[0]
    return wide[..., :-2], wide[..., 2:]


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, dict[str, float]]]:
    """How far both forms are apart; see `tests.support.flow_kernels`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.flow_kernels"],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout)
    return found


@needs_triton
@pytest.mark.parametrize("size", ["5x7", "12x13", "33x47"])
def test_each_kernel_does_what_plain_pytorch_does(interpreted: dict[str, Any], size: str) -> None:
    """Pixels; they differ by the order of sums in float32."""
    found = interpreted[size]
    for name in ("descended", "best", "dense"):
        assert found[name]["largest"] < 1e-3, name
    assert found["moves"]["mean"] > 0.1
    assert size == "5x7" or found["chooses"]["mean"] > 1  # one patch has no neighbours


@needs_triton
def test_the_flow_of_kernels_is_that_of_plain_pytorch(interpreted: dict[str, Any]) -> None:
    found = interpreted["flow"]
    assert found["flow"]["largest"] < 1e-2 and found["flow"]["mean"] < 1e-4
    assert found["moves"] == pytest.approx({"x": -2.0, "y": -1.0}, abs=0.1)


@needs_triton
def test_kernels_are_compiled_once_for_an_h200_and_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, up to the launch: nothing leaves the registers, and no warp waits for
    another.
    """
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from tests.support.compiled_kernels import compiled_by_flows

    found = compiled_by_flows([(270, 480), (33, 47), (16, 16), (5, 7)])
    assert found.keys() == {"descend", "choose", "spread"}
    for name, made in found.items():
        (one,) = made
        assert one.stack_bytes == one.shared_bytes == 0, name
        assert one.registers <= 128, name


def broken() -> FormOf:
    raise ImportError("No module named 'triton'")


class Failing(Patches):
    """Patches whose kernel fails after the first launches, as on a fault of the driver."""

    def best(self, moved: Tensor) -> Tensor:
        raise KernelError("CalledProcessError: no C compiler\nand more lines")


def launched() -> FormOf:
    from models.motion.patch_kernels import KernelPatches

    return KernelPatches  # there is no GPU, or the tensors are not on it


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (broken, "ImportError: No module named 'triton'"),
        (lambda: Failing, "CalledProcessError: no C compiler"),
        pytest.param(launched, "Error: ", marks=needs_triton),
    ],
)
def test_kernels_that_fail_are_left_with_one_warning(
    load: Any, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = Kernels(load, device="cpu")
    monkeypatch.setattr(tensor_flow, "KERNELS", kernels)
    plain = flow_by(Patches, *pictures())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(flow(*pictures()), plain)
    (record,) = caplog.records
    assert "plain PyTorch" in record.getMessage() and why in record.getMessage()
    assert kernels.why is not None and why in kernels.why and "\n" not in kernels.why


def test_kernels_are_for_a_gpu_and_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def load() -> FormOf:
        loaded.append(1)
        return Patches

    kernels = Kernels(load)
    assert kernels.form(torch.zeros(1, 8, 8)) is None and not loaded and kernels.why is None
    kernels = Kernels(load, device="cpu")
    assert kernels.form(torch.zeros(1, 8, 8)) is kernels.form(torch.zeros(1, 9, 9)) is Patches
    assert kernels.form(torch.zeros(1, 8, 8, dtype=torch.float64)) is None
    assert loaded == [1]


def test_a_fault_of_plain_pytorch_is_no_fault_of_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Patches):
        def best(self, moved: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("full")

    kernels = Kernels(lambda: Full, device="cpu")
    monkeypatch.setattr(tensor_flow, "KERNELS", kernels)
    with pytest.raises(torch.OutOfMemoryError):  # the ladder of out of memory goes down
        flow(*pictures())
    assert kernels.why is None


class Shifted(Patches):
    """Patches that find another motion."""

    def dense(self, moved: Tensor) -> Tensor:
        return super().dense(moved) + 0.2


@pytest.mark.parametrize(
    ("form", "alike", "mean"), [(Patches, True, 0.0), (Shifted, False, 0.4 * 2**0.5)]
)
def test_a_kernel_is_compared_with_plain_pytorch(form: Any, alike: bool, mean: float) -> None:
    lumas = [planes[0].numpy().clip(0, 255).astype("uint8") for planes in pictures(16, 24)]
    found = kernel_check(*lumas, torch.device("cpu"), 2, Kernels(lambda: form, device="cpu"))
    assert found.why is None and found.alike is alike
    assert found.mean == pytest.approx(mean, abs=1e-4)
    assert found.kernel_ms is not None and found.plain_ms is not None
    assert min(found.kernel_ms, found.plain_ms) > 0


def test_a_kernel_that_fails_is_named_by_the_comparison() -> None:
    lumas = [planes[0].numpy().clip(0, 255).astype("uint8") for planes in pictures(16, 24)]
    found = kernel_check(*lumas, torch.device("cpu"), 1, Kernels(lambda: Failing, device="cpu"))
    assert found.why == "CalledProcessError: no C compiler" and found.alike is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
@pytest.mark.parametrize("size", [(40, 56), (61, 47), (5, 7), (540, 960)])
def test_a_gpu_finds_the_flow_of_plain_pytorch(size: tuple[int, int]) -> None:
    one, other = (torch.cat([planes, planes.flip(1)]).cuda() for planes in pictures(*size))
    kernels = graphed(flow, torch.device("cuda"))
    for _ in range(4):  # as it is, then as a graph
        found = kernels(one, other)
        assert (found - flow_by(Patches, one, other)).abs().mean() < 1e-2
    assert tensor_flow.KERNELS.why is None and kernels._made  # type: ignore[attr-defined]
