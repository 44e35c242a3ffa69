"""A run with nothing to do starts no Ray and loads no model."""

import subprocess
import sys
from pathlib import Path

from jobs.console.query import query
from schemas.recipe import Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.studio import Studio

IDLE = """
import sys
import psutil
from pipeline import flow
from schemas.recipe import Recipe
summary = flow.run(sys.argv[1], sys.argv[2], Recipe(), progress=lambda event: None)
assert summary["clips"]["up_to_date"] == 1 and summary["exit_code"] == 0, summary
assert psutil.Process().children() == [], psutil.Process().children()
assert not {"torch", "cv2", "av"} & set(sys.modules), sorted(sys.modules)
"""


def test_an_unchanged_clip_needs_neither_ray_nor_a_model(tmp_path: Path) -> None:
    source = tmp_path / "in" / "clip.mkv"
    source.parent.mkdir()
    write_clip(source, Clip(frames=2))
    Studio(tmp_path / "out", Recipe()).publish(source)
    (tmp_path / "m.csv").write_text(f"clip_id,source_uri\nclip,{source}\n")
    command = [sys.executable, "-c", IDLE, str(tmp_path / "m.csv"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = query(str(tmp_path / "out"), "SELECT state FROM clips ORDER BY run").to_pylist()
    assert [row["state"] == "up_to_date" for row in found] == [False, True]
