"""What the measures of a clip cost beside its model: CPU-seconds of both, taken by turns.

`python -m jobs.evaluate.measure_cost [CLIP ...] [--model base] [--frames 16]`. CLIP is a video
file, with `@FRAME` to start at a frame, `+PRESET` to age it and `:WIDTHxHEIGHT` for another size.
Without clips three are drawn: clean, dirty film and tape. One thread does everything, frame by
frame. Other work on the machine slows both, so only the ratio counts. Whatever the pipeline
measures is included: all meters, the change map and its sums.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from models.colour import PixelFormat
from models.damage.simulator import age
from models.restorer import Restorer, limit_threads
from pipeline.clip.frames import Planes
from pipeline.detect.change_map import ChangeSums, change_map, halved
from pipeline.measures.clip import Meters
from pipeline.media.rgb import read_rgb
from schemas.recipe import MODELS, Recipe

Film = NDArray[np.uint8]  # (T, H, W, 3)
CLIP = re.compile(
    r"(?P<path>.+?)(@(?P<start>\d+))?(\+(?P<preset>\w+))?(:(?P<width>\d+)x(?P<height>\d+))?"
)
DRAWN = {"drawn, clean": None, "drawn, dirty film": "film", "drawn, tape": "tape"}
FORMAT = "yuv420p"


@dataclass(frozen=True)
class Cost:
    """CPU-seconds of a clip, of one thread."""

    size: str
    frames: int
    same: int  # frames that the model did not change
    model: float
    measures: float

    @property
    def ratio(self) -> float:
        """The CPU-seconds of the measures, as a share of those of the model."""
        return self.measures / self.model


def cost(film: Film, restorer: Restorer, grain: float) -> Cost:
    """Restore a film and measure every frame as soon as it is restored."""
    sources = [planes_of(frame) for frame in film]
    height, width = sources[0][0].shape
    pixels = PixelFormat.of(FORMAT, 8, 6, 1, height)
    images = [pixels.to_rgb(planes) for planes in sources]
    stream = restorer.stream(images, deflicker=False, grain=grain)
    meters, sums, same = Meters(FORMAT, pixels), ChangeSums(), 0
    model = measures = 0.0
    for source, image in zip(sources, images, strict=True):
        begun = time.process_time()
        restored = next(stream)
        model += time.process_time() - begun
        made = pixels.apply(source, image, restored.image)
        begun = time.process_time()
        meters.add(source, made)
        sums.add(halved(change_map(source, made, 8, restored.defects)))
        measures += time.process_time() - begun
        same += all(map(np.array_equal, source, made))
    begun = time.process_time()
    meters.frames(), meters.summary()
    measures += time.process_time() - begun
    return Cost(f"{width}x{height}", len(film), same, model, measures)


def planes_of(picture: NDArray[np.uint8]) -> Planes:
    """The planes of a picture of even sides (H, W, 3) as yuv420p."""
    coded = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)
    height, width = picture.shape[:2]
    small = coded[height:].reshape(2, height // 2, width // 2)
    return coded[:height].copy(), small[0].copy(), small[1].copy()


def read(name: str, count: int) -> Film:
    """The frames that a CLIP of the command names. Raises ValueError."""
    found = CLIP.fullmatch(name)
    if not found or not Path(found["path"]).is_file():
        raise ValueError(f"no such clip: {name}; name a file, as CLIP@FRAME+PRESET:WIDTHxHEIGHT")
    start = int(found["start"] or 0)
    frames = list(read_rgb(found["path"], start, start + count))
    if not frames:
        raise ValueError(f"{found['path']} has no frame {start}; name an earlier one")
    height, width = frames[0].shape[:2]
    size = int(found["width"] or width) // 2 * 2, int(found["height"] or height) // 2 * 2
    if found["width"]:
        frames = [cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in frames]
    film = np.stack([one[: size[1], : size[0]] for one in frames])
    return age(film, found["preset"], seed=0).frames if found["preset"] else film


def costs(clips: Sequence[str], model: str, count: int) -> Iterator[tuple[str, Cost]]:
    """The name and the cost of each clip; of drawn ones if none is named."""
    from jobs.evaluate.bench import HEIGHT, WIDTH, drawn

    limit_threads(1)
    restorer, grain = Restorer(model), Recipe().grain
    shot = np.stack(list(drawn(count, WIDTH, HEIGHT, 0)))
    cost(shot[:6], restorer, grain)  # the first call of everything
    for name, preset in ({} if clips else DRAWN).items():
        yield name, cost(age(shot, preset, 0).frames if preset else shot, restorer, grain)
    for clip in clips:
        yield Path(clip).name, cost(read(clip, count), restorer, grain)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", metavar="CLIP")
    parser.add_argument("--model", default=Recipe().model, choices=MODELS)
    parser.add_argument("--frames", type=int, default=16)
    given = parser.parse_args()
    typer.echo("| clip | size | frames, unchanged | model, CPU-ms a frame | measures | ratio |")
    typer.echo("|---|---|--:|--:|--:|--:|")
    try:
        for name, one in costs(given.clips, given.model, given.frames):
            model, measures = (1000 * n / one.frames for n in (one.model, one.measures))
            typer.echo(
                f"| {name} | {one.size} | {one.frames}, {one.same} | {model:.0f} | {measures:.1f} "
                f"| {one.ratio:.3f} |"
            )
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
