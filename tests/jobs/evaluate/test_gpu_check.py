"""One command measures a device, with nothing but what a bare machine with a GPU has."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.evaluate.gpu_check import PERIOD, Rates, drawn
from jobs.evaluate.gpu_table import COLUMNS, table
from jobs.evaluate.nvml import Gpu
from models.frame_state import FrameState
from models.network import timing
from pipeline.media.rgb import read_planes, write_rgb

BARE = "torch", "numpy", "opencv-python-headless", "safetensors", "av"
ALONE = """
import sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None  # an import of it fails
from jobs.evaluate.gpu_check import main
sys.exit(main(["--tiny", "--device", "cpu", "--threads", "1", "--out", sys.argv[1]]))
"""


def needed(package: str, known: set[str]) -> set[str]:
    """A package and all that it needs."""
    if package not in known:
        known.add(package)
        try:
            wanted = requires(package) or []
        except PackageNotFoundError:  # for another machine
            return known
        for line in wanted:
            if "extra ==" not in line and (name := re.match(r"[\w.-]+", line)):
                needed(name[0].lower().replace("_", "-"), known)
    return known


def not_on_a_bare_machine() -> list[str]:
    """Modules of installed packages that none of BARE needs."""
    there: set[str] = set()
    for package in BARE:
        needed(package, there)
    return [
        name
        for name, packages in packages_distributions().items()
        if not {package.lower().replace("_", "-") for package in packages} & there
        and name.isidentifier()
        and name not in ("jobs", "models", "pipeline", "schemas")
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The report of a tiny check on a bare machine, and what it printed."""
    out, without = tmp_path_factory.mktemp("check") / "found.json", not_on_a_bare_machine()
    assert {"ray", "pydantic", "pandera", "boto3", "pyarrow", "typer"} <= set(without)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(out), ",".join(without)],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


def test_everything_is_measured_on_a_bare_machine(made: tuple[dict[str, Any], str]) -> None:
    report, printed = made
    assert report["device"]["kind"] == "cpu" and "No GPU was used" in printed
    (row,) = report["rates"]
    assert set(row) == {column.name for column in fields(Rates)}
    for name in ("through", "restore", "network", "decode", "encode", "core_seconds"):
        assert row[name] > 0
    assert row["busy"] is row["joules"] is row["gpu_mib"] is None and row["frames"] == 2
    assert row["batch"] == 1 and len(row["network_ms"]) == 2
    assert min(row["network_ms"].values()) > 0 and "| bare network, batch of 2 |" in printed
    assert row["host_ms"].keys() == row["stages_ms"].keys()
    assert {
        "colour",
        "deflicker",
        "alignment",
        "network",
        "evidence",
        "change bound",
        "planes",
    } <= set(row["stages_ms"])
    assert min(row["stages_ms"].values()) >= 0 and min(row["motion_ms"].values()) > 0
    assert "kernel needs a GPU" in report["flow_kernel"]["why"] and "needs a GPU" in printed
    (found,) = report["pictures"].values()
    assert 0 < found["mean"] < found["largest"]
    assert printed == table(report) + "\n"
    assert all(str(row[name]) in printed for name in COLUMNS if row[name] is not None)


def test_pictures_that_differ_are_named(made: tuple[dict[str, Any], str]) -> None:
    report = json.loads(json.dumps(made[0]))
    (name,) = report["pictures"]
    report["pictures"][name]["alike"] = False
    assert f"| {name} " in table(report) and "| no |" in table(report)


def test_a_kernel_is_told_with_its_time(made: tuple[dict[str, Any], str]) -> None:
    report = json.loads(json.dumps(made[0]))
    report["flow_kernel"] = {
        "why": None, "mean": 0.001, "largest": 2.5, "share_apart": 0.0, "alike": False,
        "kernel_ms": 3.25, "plain_ms": 22.5,
    }  # fmt: skip
    assert "3.25 ms, by plain PyTorch 22.5 ms" in table(report) and "NOT alike" in table(report)


def test_what_is_drawn_begins_anew_without_a_jump() -> None:
    frames = [frame.astype(int) for frame in drawn(PERIOD + 1, 48, 32)]
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(frames)]
    assert steps[-1] < 1.5 * np.median(steps)


def test_planes_are_those_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_rgb(path, drawn(3, 50, 38), 25, pix_fmt="yuv420p")  # type: ignore[arg-type]
    found = list(read_planes(path))
    assert [plane.shape for plane in found[0]] == [(38, 50), (19, 25), (19, 25)]
    assert len(found) == 3 and np.ptp(found[0][0]) > 50


def test_a_stage_has_its_own_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is set by hand: 20 ms a frame in the first stage, 5 in the second. The device
    takes a millisecond more, once it is asked for all.
    """
    now = [0.0]

    def settled(device: torch.device) -> float:
        now[0] += 0.001 if asked else 0.0
        asked.clear()
        return now[0]

    asked: list[int] = []
    monkeypatch.setattr(timing, "settled", settled)
    monkeypatch.setattr(timing, "asked", lambda: now[0])
    clock = timing.StageClock(torch.device("cpu"))

    def taking(frames: Iterable[FrameState], seconds: float) -> Iterator[FrameState]:
        for frame in frames:
            now[0] += seconds
            asked.append(1)
            yield frame

    read = (FrameState.read(k, np.zeros((4, 4, 3), np.float32)) for k in range(3))
    first = clock.watch("first", taking(read, 0.02))
    assert len(list(clock.watch("second", taking(first, 0.005)))) == 3
    assert clock.milliseconds() == {"first": 21.0, "second": 6.0}
    assert clock.host_milliseconds() == {"first": 20.0, "second": 5.0}


def test_a_cpu_has_no_figures_of_a_gpu() -> None:
    device = torch.device("cpu")
    assert timing.peak_mib(device) is None and timing.uuid_of(device) is None


class Library:
    """NVIDIA's library, as far as it is asked: of one GPU, half busy, that took 1,500 J."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        rates._obj.gpu = 50
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, energy: Any) -> int:
        energy._obj.value = 1_500_000
        return 0


def test_a_gpu_tells_its_energy_and_how_busy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu.of("GPU-1", Library())
    assert gpu is not None and (gpu.busy(), gpu.joules()) == (0.5, 1500.0)
    assert Gpu.of("GPU-2", Library()) is None
    monkeypatch.setattr("jobs.evaluate.nvml.LIBRARY", "no-such-library.so")
    assert Gpu.of("GPU-1") is None
