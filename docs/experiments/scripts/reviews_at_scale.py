"""Write many decisions as `review` does, and ask every view that reads them.

    python docs/experiments/scripts/reviews_at_scale.py REVIEWS DAYS OUT [REVERTS]

OUT is empty, or an s3:// address. REVIEWS clips are restored in one run; each gets one decision,
and the decisions are spread over DAYS days. With REVERTS, the first so many also get the rows of a
revert, with 24 frames, and every view is asked. All rows are alike, so the check of a row, some 25
CPU-ms, is left out. Each view is asked in a process of its own.
"""

from __future__ import annotations

import sys
import time
from datetime import date, timedelta

from jobs.console.views import VIEWS, selected, tables_named
from jobs.evaluate.query_scale import measure
from pipeline.runs import tables
from pipeline.runs.tables import write_replacement, write_review, write_tables
from pipeline.store import layout, storage
from schemas.judgement import DECISIONS

RUN = "20260101T010203-abcdef"
EVERY = 1000  # reviews between two lines of progress


def main(reviews: int, days: int, out: str, reverts: int = 0) -> None:
    """Write the tables and print what each step took."""
    clips = [
        {"clip_id": f"clip-{n:06}", "state": "published", "source_uri": f"/{n}.mkv", "width": 720,
         "height": 576, "verdict": "needs_review", "verdict_sentence": "Why.", "largest_repair": n}
        for n in range(reviews)
    ]  # fmt: skip
    started = {"run": RUN, "started": "2026-01-01T01:02:03+00:00", "clips": reviews}
    write_tables(out, RUN, "2026-01-01", clips, [], [], started)
    tables.check = lambda name, table: table  # type: ignore[assignment]
    began, cpu, kinds = time.perf_counter(), time.process_time(), tuple(DECISIONS)
    for n in range(reviews):
        day = date(2026, 1, 2) + timedelta(n * days // reviews)
        row = {"clip_id": f"clip-{n:06}", "run": f"{day:%Y%m%d}T010203-{n:06x}"}
        row |= {"restored_by": RUN, "decision": kinds[n % 4], "by": "A. Curator", "note": "a foot"}
        write_review(out, row | {"at": f"{day}T01:02:03+00:00"})
        if n < reverts:
            run_row = started | {"run": str(row["run"]), "kind": "revert", "clips": 1}
            frames = [{"clip_id": f"clip-{n:06}", "frame": at, "shot": 0} for at in range(24)]
            shots = [{"clip_id": f"clip-{n:06}", "shot": 0, "start": 0, "stop": 24}]
            write_replacement(out, str(row["run"]), day, clips[n], shots, frames, run_row)
        if (n + 1) % EVERY == 0:
            _say(f"{n + 1} reviews", began, cpu)
    found = list(storage.listing(layout.tables(out) if reverts else layout.table(out, "reviews")))
    size = (
        sum(storage.DIRECT.stat(uri).size for uri in found[:100])
        * len(found)
        // min(100, len(found))
    )
    print(f"{len(found)} files, about {size / 1e6:.2f} MB")  # noqa: T201
    for view in VIEWS:
        if reverts or "reviews" in tables_named(selected(view)):
            answer = measure(out, selected(view))
            print(f"{view}: {answer}", flush=True)  # noqa: T201


def _say(what: str, began: float, cpu: float) -> None:
    clock, spent = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what}: {clock:.1f} s, {spent:.1f} CPU-seconds", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
