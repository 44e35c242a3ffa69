"""One call builds banks, trains and validates, on a bare machine as well."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.training import gpu_train
from jobs.training.pack import MIB, main, pack
from models.training import parts
from pipeline.media.rgb import count_frames, read_rgb, write_rgb
from tests.jobs.evaluate.test_gpu_check import not_on_a_bare_machine
from tests.jobs.training.test_dataset import shot

ALONE = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # an import of it fails
from jobs.training.gpu_train import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small clips and a photo."""
    folder = tmp_path_factory.mktemp("footage")
    for kind in ("video", "photo"):
        (folder / kind).mkdir()
    for seed in range(2):
        path = folder / "video" / f"clip{seed}.mp4"
        write_rgb(path, shot(seed, 24, 96, 128), Fraction(24), "yuv420p")
    cv2.imwrite(str(folder / "photo" / "photo.jpg"), shot(5, 1, 96, 128)[0])
    return folder


def test_a_bare_machine_trains_and_reports(footage: Path, tmp_path: Path) -> None:
    without = not_on_a_bare_machine()
    assert {"ray", "pydantic", "pandera", "boto3", "pyarrow", "typer"} <= set(without)
    given = ["--tiny", "--device", "cpu", "--workers", "0"]
    folders = ["--data", str(footage), "--valid", str(footage), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(without), *given, *folders],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads((tmp_path / "train-gpu.json").read_text())
    assert done.stdout == gpu_train.table(report) + "\n" and "No GPU was used" in done.stdout
    assert report["steps"] == report["steps_here"] == 2
    assert set(report["trained"]) == {"base", "fast"}
    for name, made in report["trained"].items():
        assert {"psnr_film", "psnr_g25", "psnr_tape", "psnr_web"} <= set(made["after"])
        assert made["loss"] > 0 and (tmp_path / name / "ema.safetensors").exists()
    assert parts.exists(tmp_path / "last")


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(tmp_path), "--valid", str(tmp_path), "--out", str(tmp_path / "out")]
    assert gpu_train.main(["--tiny", *given]) != 0
    assert "train-gpu: no *.mp4" in capsys.readouterr().err


def test_a_pack_has_all_files_in_the_room_it_has(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "video").mkdir(parents=True)
    small = footage / "video" / "clip0.mp4"
    (tmp_path / "in" / "video" / "a.mp4").write_bytes(small.read_bytes())
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (96, 128, 1), np.uint8).repeat(3, 2) for _ in range(60)]
    write_rgb(tmp_path / "in" / "video" / "noisy.mp4", noisy, Fraction(24), "yuv420p")
    size_bytes = (tmp_path / "in" / "video" / "noisy.mp4").stat().st_size
    room = small.stat().st_size + size_bytes // 4
    done = pack(tmp_path / "in", tmp_path / "out", room)
    assert done == {"copied": ["video/a.mp4"], "made smaller": ["video/noisy.mp4"], "left out": []}
    cut = tmp_path / "out" / "video" / "noisy.mp4"
    assert sum(path.stat().st_size for path in cut.parent.iterdir()) <= room
    assert 24 <= count_frames(cut) < 60
    near = np.stack(list(read_rgb(cut)))[0].astype(int) - noisy[(60 - count_frames(cut)) // 2]
    assert np.abs(near).mean() < 20  # the middle of the clip; another frame has 85


def test_what_no_room_is_left_for_is_named(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = pack(footage, tmp_path / "none", 100)
    assert len(done["left out"]) == 3 and not list((tmp_path / "none").rglob("*.*"))
    assert main([str(footage), str(tmp_path / "all"), "--mib", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["copied"] == 3 and 0 < said["mib"] * MIB < MIB
