"""Take many clips through the real ledger without pixels: what the driver and the store pay a clip.

    python docs/experiments/scripts/ledger_at_scale.py CLIPS FOLDER

FOLDER is empty, or an s3:// address. Each clip has 8 frames, one shard and one shot.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult, ShotRow
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.tasks import ClipEnded
from pipeline.detect.measure import ClipMeasure
from pipeline.runs.ledger import WorkerId
from pipeline.runs.results import common_columns, series_json
from pipeline.runs.run import Run
from pipeline.store import layout
from pipeline.store.address import join
from schemas.recipe import Recipe

FRAMES = 8


def series_of(frames: int) -> list[dict[str, float | int]]:
    """Measurements of a clip of black pictures, as long as those of any other clip."""
    measure, black = ClipMeasure([0]), np.zeros((48, 64), np.float32)
    for _ in range(frames):
        measure.add(black, black)
    return measure.frames()


SERIES = series_of(FRAMES)


@contextmanager
def timed(what: str, clips: int) -> Iterator[None]:
    """Print CPU and clock of the block for each clip, and the memory after it."""
    clock, cpu = time.monotonic(), time.process_time()
    yield
    clock, cpu = time.monotonic() - clock, time.process_time() - cpu
    with open("/proc/self/statm") as stream:
        now = int(stream.read().split()[1]) * resource.getpagesize() / 2**20
    sys.stdout.write(
        f"| {what} | {1e3 * cpu / clips:.3f} | {1e3 * clock / clips:.3f} | {now:.0f} |\n"
    )
    sys.stdout.flush()


def end(work: Run, clip: Clip) -> None:
    """Write to the ledger what a clip of one shard writes."""
    ledger, store = work.settings.ledger, work.settings.store
    store.write_bytes(layout.survey(ledger.uri, clip.clip_id), b"x" * 1600)
    ledger.begin_shard(clip.clip_id, 0, WorkerId(ledger.session, "node", os.getpid()))
    crcs = tuple(range(FRAMES))
    ledger.commit_segment(
        clip.clip_id,
        SegmentRecord(0, 0, FRAMES, crcs, 0.1, 0.1, 0.1, 0.5, 0.01, 1.0, 1.0, uri="s", sha256="a"),
    )
    series = layout.series(ledger.uri, clip.clip_id)
    store.write_bytes(series, series_json(clip.clip_id, SERIES))
    columns = common_columns(clip, work.settings, "published")
    columns |= {"frames": FRAMES, "width": 64, "height": 48, "output_sha256": "0" * 64}
    shot = ShotRow(clip.clip_id, 0, 0, FRAMES, FRAMES, 0, False, None)
    ledger.commit_clip(ClipResult(columns, (shot,), series))


def main() -> None:
    """Open a run, end every clip, open it again as after a crash, and close it."""
    count, place = int(sys.argv[1]), sys.argv[2]
    out = join(place, "out")
    clips = [Clip(f"clip{i:08d}", f"s3://films/{i:08d}.mkv") for i in range(count)]
    sys.stdout.write(f"{count} clips\n\n| step | CPU ms a clip | clock ms a clip | MiB |\n")
    sys.stdout.write("|---|--:|--:|--:|\n")
    with timed("open a new run", count):
        work = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
    with timed("end the clips (all workers)", count):
        for clip in clips:
            end(work, clip)
    with timed("take the ends (driver)", count):
        for clip in clips:
            work.take(ClipEnded(clip.clip_id))
    with timed("open it again", count):
        again = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
    del work
    with timed("close: tables, audit, summary", count):
        again.close()


if __name__ == "__main__":
    main()
