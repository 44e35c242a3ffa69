"""Perceptual scores of restored frames, if their tools are installed: VMAF and ColorVideoVDP.

Neither is enough alone. VMAF rewards sharpening that a curator would not want (its NEG variant
exists for this reason), so both are shown beside PSNR and SSIM.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from jobs.evaluate.baselines import ffmpeg_binary
from jobs.evaluate.samples import Clip
from pipeline.detect.metrics import NAN
from schemas.errors import ArchiveError

RATE = 24  # frames per second, for both scores
DISPLAY = "standard_4k"


def perceptual(clip: Clip, truth: Clip) -> dict[str, float]:
    """Return ``vmaf`` (0 to 100) and ``jod`` (ColorVideoVDP; 10 means no visible difference).

    A score is NaN if its tool is not installed.
    """
    return {"vmaf": vmaf(clip, truth), "jod": jod(clip, truth)}


@cache
def _has_vmaf() -> bool:
    try:
        binary = ffmpeg_binary()
    except ArchiveError:
        return False
    listed = subprocess.run([binary, "-v", "error", "-filters"], capture_output=True, check=True)
    return b" libvmaf " in listed.stdout


def vmaf(clip: Clip, truth: Clip) -> float:
    """Return VMAF v0.6.1, mean over frames, from the FFmpeg of the `imageio-ffmpeg` wheel.

    NaN if that FFmpeg has no libvmaf.
    """
    if not _has_vmaf():
        return NAN
    _, height, width, _ = clip.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE)]
    planar = "format=yuv420p"
    with tempfile.TemporaryDirectory(prefix="ar-vmaf-") as folder:
        paths = [Path(folder) / name for name in ("restored.rgb", "truth.rgb")]
        for path, frames in zip(paths, (clip, truth), strict=True):
            path.write_bytes(frames.tobytes())
        graph = f"[0:v]{planar}[a];[1:v]{planar}[b];[a][b]libvmaf=log_fmt=json:log_path=vmaf.json"
        command = [
            *(str(ffmpeg_binary()), "-v", "error", "-nostdin"),
            *(*raw, "-i", paths[0].name, *raw, "-i", paths[1].name),
            *("-lavfi", graph, "-f", "null", "-"),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            raise ArchiveError(f"ffmpeg's libvmaf: {done.stderr.decode(errors='replace')}")
        found = json.loads((Path(folder) / "vmaf.json").read_text())
    return float(found["pooled_metrics"]["vmaf"]["mean"])


@cache
def _cvvdp() -> Any:  # noqa: ANN401 - an optional package without types
    try:
        return import_module("pycvvdp").cvvdp(display_name=DISPLAY, quiet=True)
    except Exception:  # for example a broken torchvision: count as not installed
        return None


def jod(clip: Clip, truth: Clip) -> float:
    """Return the quality in just-objectionable differences, on a 4K display.

    ColorVideoVDP, Mantiuk et al., SIGGRAPH 2024. NaN if `cvvdp` is not installed.
    """
    metric = _cvvdp()
    if metric is None:
        return NAN
    value, _ = metric.predict(clip, truth, dim_order="FHWC", frames_per_second=RATE)
    return float(value)
