"""The end of a session: the summary of a run, and its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, NotRequired, TypedDict, cast

import pyarrow as pa

from pipeline.clip.regions import read_regions
from pipeline.clip.result import ClipResult
from pipeline.runs.quarantine import FAULTY
from pipeline.runs.results import series_rows
from pipeline.runs.row import Record, finding_rows, load, shot_rows
from pipeline.runs.settings import Settings
from pipeline.runs.stop import EXIT_CODES
from pipeline.runs.tables import PART_ROWS, write_tables
from pipeline.store import layout
from schemas.exit_codes import ExitCode
from schemas.reasons import MADE, STATES, Reason
from schemas.verdict_rules import TO_REVIEW

AT_ONCE = 200  # clips whose measurements are read at once


SHARDS_PER_GPU = 2  # restored at the same time: the middle of one hides the ends of the other


class Devices(NamedTuple):
    """The devices that a run restores on: its GPUs if it has any, else its CPU cores."""

    gpus: int
    cpus: int

    @property
    def kind(self) -> str:
        """gpu or cpu."""
        return "gpu" if self.gpus else "cpu"

    @property
    def number(self) -> int:
        """How many there are."""
        return self.gpus or self.cpus

    @property
    def shards(self) -> int:
        """Shards that are restored at the same time."""
        return self.gpus * SHARDS_PER_GPU or self.cpus


class RunSummary(TypedDict):
    """The summary of a session, as `submit` prints it and the ledger keeps it."""

    run: str
    exit_code: int
    clips: dict[str, int]  # by state
    left: int  # clips that another session takes up
    review: int  # clips published by this run that the rules do not pass
    frames: int  # of the clips that were published or are untouched
    seconds: float  # of the session
    fps: float
    out: str
    stopped: NotRequired[str]  # why the circuit breaker ended the session
    warnings: NotRequired[list[dict[str, object]]]  # of the manifest, from `submit`


@dataclass(frozen=True)
class Closing:
    """The results of all clips at the end of a session. Clips that were left are included."""

    settings: Settings
    results: Mapping[str, ClipResult]
    left: Mapping[str, Reason]  # clips that another session takes up
    seconds: float  # of the session
    devices: Devices | None  # None if nothing was restored
    stopped: str = ""  # why the circuit breaker ended the session
    max_review: int | None = None  # clips that may need review without exit code 4

    def summary(self) -> RunSummary:
        """The summary of the session."""
        states = Counter(result.state for result in self.results.values())
        made = [r for r in self.results.values() if r.state in MADE]
        frames = sum(int(result.number("frames") or 0) for result in made)
        summary: RunSummary = {
            "run": self.settings.ledger.run,
            "exit_code": int(self._exit_code(states)),
            "clips": {state: states[state] for state in STATES},
            "left": len(self.left),
            "review": self._to_review(),
            "frames": frames,
            "seconds": self.seconds,
            "fps": round(frames / self.seconds, 3) if self.seconds else 0.0,
            "out": self.settings.out,
        }
        if self.stopped:
            summary["stopped"] = self.stopped
        return summary

    def _exit_code(self, states: Mapping[str, int]) -> ExitCode:
        """The code of the stop if clips were left, FAULTS if a clip did not end well, else DONE.

        REVIEW stands for DONE if more clips need review than `max_review`.
        """
        if self.left:
            return max(EXIT_CODES[reason] for reason in self.left.values())
        faults = sum(states.get(state, 0) for state in FAULTY)
        faults -= sum(r.reason is Reason.EMBARGOED for r in self.results.values())
        if faults:
            return ExitCode.FAULTS
        too_many = self.max_review is not None and self._to_review() > self.max_review
        return ExitCode.REVIEW if too_many else ExitCode.DONE

    def _to_review(self) -> int:
        """Clips published by this run whose verdict is `needs_review` or `fail`."""
        return sum(
            result.state == "published" and result.columns.get("verdict") in TO_REVIEW
            for result in self.results.values()
        )

    def write_tables(self, summary: RunSummary) -> None:
        """Write the run's part of every table."""
        store = self.settings.store
        results = [self.results[clip] for clip in sorted(self.results)]
        run = self._run_row(summary, len(results))
        write_tables(
            self.settings.out,
            self.settings.ledger.run,
            str(run["started"])[:10],
            [result.columns for result in results],
            shot_rows(results),
            self._frames(results),
            run,
            store,
            regions=self._regions(results),
            findings=finding_rows(results),
            canaries=self.canaries(),
        )

    def _frames(self, results: Iterable[ClipResult]) -> Iterator[Mapping[str, object]]:
        """The measurements of every frame. Memory holds those of AT_ONCE clips."""
        uris = (result.series_uri for result in results if result.series_uri)
        while group := list(islice(uris, AT_ONCE)):
            for data in self.settings.store.read_many(group).values():
                yield from series_rows(data)

    def canaries(self) -> Iterator[Record]:
        """The scores of planted damage. Unless a recipe asks for any, the store is not asked."""
        settings = self.settings
        recipes = [settings.recipe, *(settings.book.named.values() if settings.book else ())]
        if any(recipe.canaries for recipe in recipes):
            uris = settings.store.listing(layout.canaries(settings.ledger.uri))
            yield from map(load, settings.store.read_many(uris).values())

    def _regions(self, results: Iterable[ClipResult]) -> Iterator[pa.Table]:
        """The regions of every clip in parts, so that memory holds one part."""
        for result in results:
            if result.regions_uri:
                data = self.settings.store.read_bytes(result.regions_uri)
                yield from read_regions(data, result.clip_id, result.run, PART_ROWS)

    def _run_row(self, summary: RunSummary, clips: int) -> dict[str, object]:
        settings, info = self.settings, self.settings.ledger.info()
        identity = cast(Record, info["identity"])
        return {
            "kind": "restoration",
            "manifest_uri": identity["manifest_uri"],
            "manifest_sha256": identity["manifest"],
            "recipe": settings.recipe.name,
            "run": settings.ledger.run,
            "started": info["started"],
            "sessions": len(cast(list[Record], info["sessions"])),
            "model": settings.recipe.model,
            "weights_sha256": settings.weights_sha256,
            "recipe_sha256": settings.recipe.digest,
            "code": settings.code,
            "clips": clips,
            "device": self.devices and self.devices.kind,
            "workers": self.devices and self.devices.number,
            **summary["clips"],
            "frames": summary["frames"],
            "seconds": summary["seconds"],
            "fps": summary["fps"],
            "exit_code": summary["exit_code"],
        }
