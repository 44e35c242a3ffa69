"""The end of a session: the summary of a run, and its tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.clip.result import ClipResult
from pipeline.runs.row import Row, shot_rows
from pipeline.runs.settings import Settings
from pipeline.runs.stop import EXIT_CODES
from pipeline.runs.tables import write_tables
from schemas.reasons import Reason
from schemas.tables import STATES


class Devices(NamedTuple):
    """What a run restores on: GPUs where there are any, else the cores."""

    gpus: int
    cpus: int

    @property
    def kind(self) -> str:
        """gpu or cpu."""
        return "gpu" if self.gpus else "cpu"

    @property
    def workers(self) -> int:
        """How many shards are restored at once."""
        return self.gpus or self.cpus


@dataclass(frozen=True)
class Closing:
    """Every clip's result at the end of a session, those that were left over included."""

    settings: Settings
    results: Mapping[str, ClipResult]
    left: Mapping[str, Reason]  # clips that another session takes up
    seconds: float  # of the session
    devices: Devices | None  # None where nothing was restored
    stopped: str = ""  # why the circuit breaker ended the session

    def summary(self) -> Row:
        """The summary that `submit` prints."""
        states = Counter(result.state for result in self.results.values())
        published = [r for r in self.results.values() if r.state == "published"]
        frames = sum(int(result.number("frames") or 0) for result in published)
        return {
            "run": self.settings.ledger.run,
            "exit_code": self._exit_code(states),
            "clips": {state: states[state] for state in STATES},
            "left": len(self.left),
            "frames": frames,
            "seconds": self.seconds,
            "fps": round(frames / self.seconds, 3) if self.seconds else 0.0,
            "out": self.settings.out,
            **({"stopped": self.stopped} if self.stopped else {}),
        }

    def _exit_code(self, states: Mapping[str, int]) -> int:
        """That of the stop, if clips were left; else 3 if a clip did not end well, else 0."""
        stopped = max((EXIT_CODES[reason] for reason in self.left.values()), default=0)
        faults = sum(states.get(state, 0) for state in ("held", "quarantined", "failed"))
        faults -= sum(r.reason is Reason.EMBARGOED for r in self.results.values())
        return stopped or (3 if faults else 0)

    def write_tables(self, summary: Row) -> None:
        """Write the run's part of every table."""
        store = self.settings.store
        results = [self.results[clip] for clip in sorted(self.results)]
        frames: list[Row] = []
        for result in results:
            if result.series_uri:
                frames += json.loads(store.read_bytes(result.series_uri))
        run = self._run_row(summary, len(results))
        write_tables(
            self.settings.out,
            self.settings.ledger.run,
            str(run["started"])[:10],
            [result.columns for result in results],
            shot_rows(results),
            frames,
            run,
            store,
        )

    def _run_row(self, summary: Row, clips: int) -> Row:
        settings, info = self.settings, self.settings.ledger.info()
        identity: Row = info["identity"]  # type: ignore[assignment]
        return {
            "manifest_uri": identity["manifest_uri"],
            "manifest_sha256": identity["manifest"],
            "recipe": settings.recipe.name,
            "run": settings.ledger.run,
            "started": info["started"],
            "sessions": len(list(info["sessions"])),  # type: ignore[call-overload]
            "model": settings.recipe.model,
            "weights_sha256": settings.weights_sha256,
            "recipe_sha256": settings.recipe.digest,
            "code": settings.code,
            "clips": clips,
            "device": self.devices and self.devices.kind,
            "workers": self.devices and self.devices.workers,
            **summary["clips"],
            **{key: summary[key] for key in ("frames", "seconds", "fps", "exit_code")},
        }
