"""Take many clips through the real ledger without pixels: what the driver and the store pay a clip.

    python docs/experiments/scripts/ledger_at_scale.py CLIPS FOLDER

FOLDER is empty, or an s3:// address. Each clip has 8 frames, one shard and one shot.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jobs.evaluate.bench import write_clips
from pipeline.clip.clip import Clip
from pipeline.clip.details import Details, details_of
from pipeline.clip.result import ClipResult, ShotRow
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.tasks import ClipEnded
from pipeline.detect.measure import ClipMeasure
from pipeline.runs.ledger import SURVEY, WorkerId
from pipeline.runs.results import common_columns
from pipeline.runs.run import Run
from pipeline.store import layout
from pipeline.store.address import join
from pipeline.survey import survey_clip
from schemas.recipe import Recipe

FRAMES = 8


def series_of(frames: int) -> list[dict[str, float | int]]:
    """Measurements of a clip of black pictures, as long as those of any other clip."""
    measure, black = ClipMeasure([0]), np.zeros((48, 64), np.float32)
    for _ in range(frames):
        measure.add(black, black)
    return measure.frames()


def details_of_a_clip() -> Details:
    """What the ledger keeps of a small clip, from a clip that is drawn and surveyed."""
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        write_clips(folder, 1, FRAMES, 64, 48)
        clip = Clip("clip0", str(folder / "clip0.mkv"))
        survey = survey_clip(clip, Recipe(), folder / "cache")
    crcs = tuple(range(FRAMES))
    segment = SegmentRecord(0, 0, FRAMES, crcs, 0.1, 0.1, 0.1, 0.5, 0.01, 1.0, 1.0, sha256="a" * 64)
    return details_of(survey, segment, series_of(FRAMES), None)


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


def end(work: Run, clip: Clip, details: Details) -> ClipEnded:
    """Write to the ledger what a small clip writes."""
    ledger, worker = work.settings.ledger, WorkerId(work.settings.ledger.session, "n", os.getpid())
    ledger.claim_attempt(clip.clip_id, SURVEY, worker)
    ledger.begin_shard(clip.clip_id, 0, worker)
    columns = common_columns(clip, work.settings, "published")
    columns |= {"frames": FRAMES, "width": 64, "height": 48, "output_sha256": "0" * 64}
    shot = ShotRow(clip.clip_id, 0, 0, FRAMES, FRAMES, 0, False, None)
    series = layout.done_marker(ledger.uri, clip.clip_id)
    committed = ledger.commit_clip(ClipResult(columns, (shot,), series, details=details))
    return ClipEnded(clip.clip_id, committed)


def main() -> None:
    """Open a run, end every clip, open it again as after a crash, and close it."""
    count, place = int(sys.argv[1]), sys.argv[2]
    out = join(place, "out")
    clips = [Clip(f"clip{i:08d}", f"s3://films/{i:08d}.mkv") for i in range(count)]
    sys.stdout.write(f"{count} clips\n\n| step | CPU ms a clip | clock ms a clip | MiB |\n")
    sys.stdout.write("|---|--:|--:|--:|\n")
    with timed("open a new run", count):
        work = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
    details = details_of_a_clip()
    with timed("end the clips (all workers)", count):
        ends = [end(work, clip, details) for clip in clips]
    with timed("take the ends (driver)", count):
        for item in ends:
            work.take(item)
    del ends
    with timed("open it again", count):
        again = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
    del work
    with timed("close: tables, audit, summary", count):
        again.close()


if __name__ == "__main__":
    main()
