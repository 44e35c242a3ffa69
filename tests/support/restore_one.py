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


def main(folder: Path) -> None:
    """Raises RuntimeError unless the clip is published."""
    program = Path(sys.executable).with_name("archive-restore")
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    noise = np.random.default_rng(0).normal(128, 20, (FRAMES, HEIGHT, WIDTH, 3))
    frames = list(noise.clip(0, 255).astype(np.uint8))
    write_rgb(folder / "reel.mkv", frames, Fraction(25), pix_fmt="yuv420p")
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
