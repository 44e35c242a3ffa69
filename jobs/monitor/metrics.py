"""What Prometheus is told of a run: every metric by its name, and the figures behind it.

The figures come from the run's events, so they are the same for a run here and one on a cluster.
Labels have values from closed lists only: no clip, no run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, NamedTuple

from jobs.console.output import Tally
from pipeline.runs.events import Event
from pipeline.runs.measures import STAGES as SHARD_STAGES
from schemas.reasons import REASONS, Reason

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PREFIX = "archive_restore_"
UNDER_WAY = -1  # in place of an exit code
IN_ORDER = (0, 3, 4, 5)  # exit codes of runs that came to an end of their own
STAGES = (*SHARD_STAGES, "assemble")
GOOD = ("published", "up_to_date", "untouched")
# the pairs of state and reason that are always told, also when no clip has them
PAIRS = (
    *((state, "") for state in (*GOOD, "waiting")),
    *((info.state, str(reason)) for reason, info in REASONS.items()),
)

Kind = Literal["gauge", "counter"]
Labels = tuple[str, ...]


class Metric(NamedTuple):
    """One metric: its name without the prefix, what it says, and its labels beside ``out``."""

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    values: tuple[Labels, ...] = ((),)  # of the labels, as they are told when all is 0


METRICS = (
    Metric("build_info", "gauge", "1, with the program's version.", ("version",),
           ((version("archive-restore"),),)),
    Metric("run_start_timestamp_seconds", "gauge", "When the run's last session began."),
    Metric("run_end_timestamp_seconds", "gauge", "When it ended; 0 while it is under way."),
    Metric("updated_timestamp_seconds", "gauge", "When these figures were last written."),
    Metric("last_success_timestamp_seconds", "gauge",
           "When a run last ended in order, with exit code 0, 3, 4 or 5; absent before."),
    Metric("exit_code", "gauge", "Exit code of the run; -1 while it is under way."),
    Metric("clips", "gauge", "Clips of the manifest by state, and by reason if they have one.",
           ("state", "reason"), PAIRS),
    Metric("oldest_waiting_timestamp_seconds", "gauge",
           "Since when the clip that has waited longest waits; 0 if none does."),
    Metric("frames_total", "counter", "Frames restored in this session."),
    Metric("frames_per_second", "gauge", "Frames restored over the time of this session."),
    Metric("stage_seconds_total", "counter", "Time spent in each stage, over all workers.",
           ("stage",), tuple((stage,) for stage in STAGES)),
    Metric("cpu_seconds_total", "counter", "Processor time of all workers, after the survey."),
    Metric("gpu_seconds_total", "counter", "Time for which GPUs were held."),
    Metric("retries_total", "counter", "Attempts at shards beyond the first of each."),
    Metric("read_bytes_total", "counter", "Size of the sources of the clips published."),
    Metric("written_bytes_total", "counter", "Size of the restored files published."),
)  # fmt: skip
NAMES = tuple(PREFIX + metric.name for metric in METRICS)
SERIES = sum(len(metric.values) for metric in METRICS)  # of an output
MOST_SERIES = SERIES - len(PAIRS) + len(GOOD) + 1 + 3 * (len(Reason) + 1)


@dataclass
class Ended:
    """How a run, and the last one that ended in order, came to its end."""

    at: float = 0.0  # seconds since the epoch; 0 while it is under way
    exit_code: int = UNDER_WAY
    last_success: float = 0.0


class Figures:
    """The value of every metric, kept up with the events of a run."""

    def __init__(self, out: str, last_success: float = 0.0) -> None:
        self.out = out
        self.begun, self.waiting_since = time.time(), time.time()
        self.ended = Ended(last_success=last_success)
        self._tally = Tally()
        self._states: Counter[Labels] = Counter()
        self._measures: dict[str, Counter[str]] = {}  # of each clip this session worked on

    def add(self, event: Event) -> None:
        self._tally.add(event)
        if event.kind == "run":  # the clips that earlier sessions ended are told before
            self.waiting_since = _started(event.run)
            self._measures.clear()
        elif event.kind == "shard":
            self._measures.setdefault(event.clip_id, Counter()).update(event.measures)
        elif event.kind == "clip":
            reason = event.reason if event.reason in Reason.__members__ else ""
            self._states[(event.state, reason)] += 1
            if event.measures:
                self._measures[event.clip_id] = Counter(event.measures)

    def end(self, exit_code: int) -> None:
        """The run is over."""
        self.ended.at, self.ended.exit_code = time.time(), exit_code
        if exit_code in IN_ORDER:
            self.ended.last_success = self.ended.at

    def values(self) -> dict[str, Mapping[Labels, float]]:
        """Each metric's values by those of its labels."""
        waiting = max(0, self._tally.total - self._states.total())
        success = self.ended.last_success
        sums = sum(self._measures.values(), Counter[str]())
        return {
            "build_info": {METRICS[0].values[0]: 1},
            "run_start_timestamp_seconds": {(): self.begun},
            "run_end_timestamp_seconds": {(): self.ended.at},
            "updated_timestamp_seconds": {(): time.time()},
            "last_success_timestamp_seconds": {(): success} if success else {},
            "exit_code": {(): self.ended.exit_code},
            "clips": {**dict.fromkeys(PAIRS, 0), **self._states, ("waiting", ""): waiting},
            "oldest_waiting_timestamp_seconds": {(): self.waiting_since if waiting else 0},
            "frames_total": {(): self._tally.restored},
            "frames_per_second": {(): round(self._tally.rate, 3)},
            "stage_seconds_total": {(stage,): sums[f"seconds_{stage}"] for stage in STAGES},
            "cpu_seconds_total": {(): sums["seconds_cpu"]},
            "gpu_seconds_total": {(): sums["seconds_gpu"]},
            "retries_total": {(): sums["retries"]},
            "read_bytes_total": {(): sums["bytes_in"]},
            "written_bytes_total": {(): sums["bytes_out"]},
        }

    def collect(self) -> Iterator[Family]:
        """Every metric as the client library takes it."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        values = self.values()
        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for metric in METRICS:
            labels = ("out", *metric.labels)
            family = kinds[metric.kind](PREFIX + metric.name, metric.help, labels=labels)
            for names, value in values[metric.name].items():
                family.add_metric((self.out, *names), value)
            yield family


def _started(run: str) -> float:
    """When a run first began, as its id says."""
    try:
        return datetime.strptime(run[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()
