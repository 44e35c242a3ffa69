"""The metrics of a run for Prometheus: names, labels and the current figures.

The figures come from the run's events. They are the same for a local run and a run on a cluster.
Label values come from closed lists only: a label never names a clip or a run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, NamedTuple

from jobs.console.progress import ProgressCount
from pipeline.runs.events import Event
from pipeline.runs.measures import STAGES as SHARD_STAGES
from schemas.exit_codes import ExitCode
from schemas.reasons import ENDED_WELL, REASONS, Reason

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PREFIX = "archive_restore_"
UNDER_WAY = -1  # stands for the exit code while the run works
# exit codes of runs that ended without a failure
IN_ORDER = (ExitCode.DONE, ExitCode.FAULTS, ExitCode.REVIEW, ExitCode.STOPPED)
RUN_STAGES = (*SHARD_STAGES, "assemble")
READY = ENDED_WELL  # states of clips that ended well
# pairs of state and reason that always have a series, even if no clip has them
STATES_AND_REASONS = (
    *((state, "") for state in (*READY, "waiting")),
    *((info.state, str(reason)) for reason, info in REASONS.items()),
)

Kind = Literal["gauge", "counter"]
Labels = tuple[str, ...]


class RunMetric(NamedTuple):
    """One metric: its name without the prefix, its meaning, and its labels beside ``out``."""

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    values: tuple[Labels, ...] = ((),)  # of the labels, exported even while they are 0


METRICS = (
    RunMetric("build_info", "gauge", "1, with the program's version.", ("version",),
              ((version("archive-restore"),),)),
    RunMetric("run_start_timestamp_seconds", "gauge", "Start of the run's last session."),
    RunMetric("run_end_timestamp_seconds", "gauge", "End of the run; 0 while it works."),
    RunMetric("updated_timestamp_seconds", "gauge", "Last time these figures were written."),
    RunMetric("last_success_timestamp_seconds", "gauge",
              "Last time that a run ended with exit code 0, 3, 4 or 5; absent before the first."),
    RunMetric("exit_code", "gauge", "Exit code of the run; -1 while it works."),
    RunMetric("clips", "gauge", "Clips of the manifest by state and reason.",
              ("state", "reason"), STATES_AND_REASONS),
    RunMetric("oldest_waiting_timestamp_seconds", "gauge",
              "Start of the longest wait of a clip; 0 if no clip waits."),
    RunMetric("frames_total", "counter", "Frames restored in this session."),
    RunMetric("frames_per_second", "gauge", "Frames per second in this session."),
    RunMetric("stage_seconds_total", "counter", "Time in each stage, over all workers.",
              ("stage",), tuple((stage,) for stage in RUN_STAGES)),
    RunMetric("cpu_seconds_total", "counter", "Processor time of all workers, after the survey."),
    RunMetric("gpu_seconds_total", "counter", "Time for which GPUs were reserved."),
    RunMetric("retries_total", "counter", "Repeated attempts at a shard."),
    RunMetric("read_bytes_total", "counter", "Size of the sources of published clips."),
    RunMetric("written_bytes_total", "counter", "Size of the restored files."),
)  # fmt: skip
METRIC_NAMES = tuple(PREFIX + metric.name for metric in METRICS)
SERIES = sum(len(metric.values) for metric in METRICS)  # of one output
MOST_SERIES = SERIES - len(STATES_AND_REASONS) + len(READY) + 1 + 3 * (len(Reason) + 1)


@dataclass
class RunEnd:
    """The end of this run, and of the last successful one."""

    at: float = 0.0  # seconds since 1970; 0 while the run works
    exit_code: int = UNDER_WAY
    last_success: float = 0.0


class Figures:
    """The current value of every metric, from the events of a run."""

    def __init__(self, out: str, last_success: float = 0.0) -> None:
        self.out = out
        self.begun, self.waiting_since = time.time(), time.time()
        self.ended = RunEnd(last_success=last_success)
        self._count = ProgressCount()
        self._states: Counter[Labels] = Counter()
        self._measures: dict[str, Counter[str]] = {}  # of each clip this session worked on

    def add(self, event: Event) -> None:
        self._count.add(event)
        if event.kind == "run":  # clips of earlier sessions are reported before this event
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
        """Note the end of the run."""
        self.ended.at, self.ended.exit_code = time.time(), exit_code
        if exit_code in IN_ORDER:
            self.ended.last_success = self.ended.at

    def values(self) -> dict[str, Mapping[Labels, float]]:
        """Return the values of each metric by its label values."""
        waiting = max(0, self._count.total - self._states.total())
        states = {**self._states, ("waiting", ""): waiting}
        success = self.ended.last_success
        sums = sum(self._measures.values(), Counter[str]())
        return {
            "build_info": {METRICS[0].values[0]: 1},
            "run_start_timestamp_seconds": {(): self.begun},
            "run_end_timestamp_seconds": {(): self.ended.at},
            "updated_timestamp_seconds": {(): time.time()},
            "last_success_timestamp_seconds": {(): success} if success else {},
            "exit_code": {(): self.ended.exit_code},
            "clips": {**dict.fromkeys(STATES_AND_REASONS, 0), **states},
            "oldest_waiting_timestamp_seconds": {(): self.waiting_since if waiting else 0},
            "frames_total": {(): self._count.restored},
            "frames_per_second": {(): round(self._count.rate, 3)},
            "stage_seconds_total": {(stage,): sums[f"seconds_{stage}"] for stage in RUN_STAGES},
            "cpu_seconds_total": {(): sums["seconds_cpu"]},
            "gpu_seconds_total": {(): sums["seconds_gpu"]},
            "retries_total": {(): sums["retries"]},
            "read_bytes_total": {(): sums["bytes_in"]},
            "written_bytes_total": {(): sums["bytes_out"]},
        }

    def collect(self) -> Iterator[Family]:
        """Yield every metric in the client library's form."""
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
    """Return when a run first began; the run's id says it."""
    try:
        return datetime.strptime(run[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()
