"""The peak memory of one process that restores a shard, by model, size of the frame and tiles.

    python docs/experiments/scripts/worker_memory.py fast 640x480 8 0

Model, size, frames, side of the tiles (0: whole frame). Prints the peak (VmHWM) in MiB.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.evaluate.bench import write_clips
from pipeline.clip.clip import Clip
from pipeline.survey import survey_clip
from schemas.recipe import Recipe

CHILD = """
import sys
from pathlib import Path
from models.network import memory
from pipeline.clip.shards import plan_shards
from pipeline.clip.survey import Survey
from pipeline.restore import ShardRestorer
from schemas.recipe import Recipe

folder, model, side = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if side:
    started = memory.Ladder.__init__

    def in_tiles(ladder, *arguments):
        started(ladder, *arguments)
        ladder._rungs = [memory.Rung("cpu", side)]

    memory.Ladder.__init__ = in_tiles
recipe = Recipe(model=model, clean="restore")
survey = Survey.from_json((folder / "survey.json").read_bytes())
for shard in plan_shards(survey.shots, recipe.shard_frames):
    ShardRestorer(recipe, 1).restore(folder / "clip0.mkv", survey, shard, folder / "out.mkv")
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def peak_mib(model: str, width: int, height: int, frames: int, side: int) -> float:
    """The peak memory of a process that restores a clip of this size."""
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        write_clips(folder, 1, frames, width, height)
        clip, recipe = Clip("clip0", str(folder / "clip0.mkv")), Recipe(clean="restore")
        survey = survey_clip(clip, recipe, folder / "cache")
        (folder / "survey.json").write_bytes(survey.to_json())
        ran = subprocess.run(
            [sys.executable, "-c", CHILD, temp, model, str(side)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    return float(ran.stdout)


if __name__ == "__main__":
    model, size, frames, side = sys.argv[1:]
    width, height = map(int, size.split("x"))
    print(f"{model} {size} {frames} {side} {peak_mib(model, width, height, int(frames), int(side))}")
