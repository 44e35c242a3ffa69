"""Restore one drawn clip with the installed program, as its first user would.

`python restore_one.py FOLDER`, with the Python of an environment that holds the program alone. It
must not import from `tests`: the environment has no packages for tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.media.rgb import write_rgb

WIDTH, HEIGHT, FRAMES = 96, 64, 8


def dusty() -> list[np.ndarray]:
    """Frames (H, W, 3) of one still scene, with new specks in each."""
    rng = np.random.default_rng(0)
    scene = np.linspace(60, 160, WIDTH)[None, :, None] + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
    frames = []
    for _ in range(FRAMES):
        frame = scene + rng.normal(0, 1, scene.shape)
        for y, x in rng.integers(8, (HEIGHT - 12, WIDTH - 12), (4, 2)):
            frame[y : y + 5, x : x + 4] = 240
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def main(folder: Path) -> None:
    """Raises RuntimeError unless the clip is published."""
    program = Path(sys.executable).with_name("archive-restore")
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    write_rgb(folder / "reel.mkv", dusty(), Fraction(25), pix_fmt="yuv420p")
    manifest = folder / "manifest.csv"
    manifest.write_text("clip_id,source_uri\nreel,reel.mkv\n", encoding="utf-8")
    command = [program, "submit", manifest, "--out", folder / "restored", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    clips = json.loads(done.stdout)["clips"]
    if clips["published"] != 1:
        raise RuntimeError(f"the clip was not published: {clips}")
    sys.stdout.write(f"restored one clip with {sys.prefix}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
