"""`make bench-memory`: the peak memory of a worker and of a survey, beside what was predicted.

The clips are drawn here. A worker is one process with one thread on the CPU; its peak is VmHWM.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from jobs.evaluate.bench import machine, write_clips
from models.network.need import predicted

MIB = 1 << 20
# It runs in a process of its own: a survey, or the shards of a clip in tiles of one side.
CHILD = """
import sys
from pathlib import Path
from jobs.evaluate import memory
memory.child(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tensors")
"""


class Case(NamedTuple):
    """A clip to restore."""

    model: str
    width: int
    height: int
    frames: int
    side: int  # of the tiles in pixels; 0 is the whole frame
    tensors: bool = False  # motion is followed by tensors, as on a GPU

    @classmethod
    def parse(cls, text: str) -> Case:
        """`fast 3840x2160 24 512`, and `tensors` behind it. Raises BadParameter for another
        form.
        """
        try:
            model, size, frames, side, *engine = text.split()
            if engine not in ([], ["tensors"]):
                raise ValueError
            width, height = size.split("x")
            return cls(model, int(width), int(height), int(frames), int(side), bool(engine))
        except ValueError as error:
            raise typer.BadParameter(f"{text!r}: write MODEL WxH FRAMES SIDE [tensors]") from error


USUAL = (
    "fast 3840x2160 24 512",
    "fast 64x48 10000 0",
    "fast 64x48 300 0 tensors",
    "fast 64x48 3000 0 tensors",
)


def child(folder: Path, model: str, side: int, tensors: bool) -> None:
    """Survey the clip of the folder, or restore it from its survey. Prints the peak in MiB."""
    from pipeline.clip.clip import Clip
    from pipeline.clip.survey import Survey
    from pipeline.survey import survey_clip
    from schemas.recipe import Recipe

    source, file = folder / "clip0.mkv", folder / "survey.json"
    if not model:
        survey = survey_clip(Clip("clip0", str(source)), Recipe(clean="restore"), folder / "cache")
        file.write_bytes(survey.to_json())
    else:
        _restore(source, Survey.from_json(file.read_bytes()), model, side, tensors)
    status = Path("/proc/self/status").read_text()
    typer.echo(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def _restore(source: Path, survey: object, model: str, side: int, tensors: bool) -> None:
    """Restore every shard, in tiles of this side from the start."""
    from typing import Any, cast

    from models.network import memory
    from models.restorer import Restorer
    from pipeline.clip.shards import plan_shards
    from pipeline.restore import ShardRestorer
    from schemas.recipe import Recipe

    started = memory.Ladder.__init__

    def in_tiles(ladder: memory.Ladder, *arguments: Any) -> None:  # noqa: ANN401
        started(ladder, *arguments)
        ladder._rungs = [memory.Rung("cpu", side)]

    if side:
        setattr(memory.Ladder, "__init__", in_tiles)  # noqa: B010 - its type is that of the real one
    recipe, found = Recipe(model=cast(Any, model), clean="restore"), cast(Any, survey)
    restorer = ShardRestorer(recipe, 1, Restorer(model, device="cpu", tensors=tensors))
    for shard in plan_shards(found.shots, recipe.shard_frames):
        restorer.restore(source, found, shard, source.with_name("out.mkv"))


def peak_mib(folder: Path, model: str, side: int = 0, tensors: bool = False) -> float:
    """The peak memory in MiB of a process that surveys (without a model) or restores the clip."""
    engine = "tensors" if tensors else "opencv"
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), model, str(side), engine],
        check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return float(ran.stdout.split()[-1])


def main(
    case: Annotated[
        list[str] | None,
        typer.Option(help="MODEL WxH FRAMES SIDE [tensors]; side 0 is the whole frame."),
    ] = None,
) -> None:
    """Restore drawn clips, and print the peak memory beside the predicted."""
    typer.echo(f"# archive-restore {version('archive-restore')}, {machine()}")
    typer.echo("| clip | survey, MiB | worker, MiB | predicted, MiB | worker / predicted |")
    typer.echo("|---|--:|--:|--:|--:|")
    for one in map(Case.parse, case or USUAL):
        with tempfile.TemporaryDirectory() as temp:
            folder = Path(temp)
            write_clips(folder, 1, one.frames, one.width, one.height)
            survey = peak_mib(folder, "")
            worker = peak_mib(folder, one.model, one.side, one.tensors)
        need = predicted(one.model, one.width, one.height, one.side) / MIB
        tiles = f", tiles of {one.side}" if one.side else ""
        tiles += ", by tensors" if one.tensors else ""
        typer.echo(
            f"| `{one.model}`, {one.frames} frames of {one.width}x{one.height}{tiles} | "
            f"{survey:.0f} | {worker:.0f} | {need:.0f} | {worker / need:.2f} |"
        )


if __name__ == "__main__":
    typer.run(main)
