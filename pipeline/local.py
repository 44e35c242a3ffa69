"""The local executor: the same stages in this process, one shard at a time, without Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from models.network.checkpoint import gpus
from pipeline.clip.clip import Clip
from pipeline.clip.result import ClipResult
from pipeline.clip.tasks import Item
from pipeline.plan.memory import WORKERS_SHARE, machine_bytes
from pipeline.runs.closing import Devices
from pipeline.runs.ledger import WorkerId
from pipeline.runs.run import Run
from pipeline.stages import AssembleStage, Restorers, RestoreStage, SurveyStage
from schemas.errors import ClipFault


class ThisProcess:
    """This process as the only node."""

    gpu_share = 1.0

    def worker(self, session: str) -> WorkerId:
        """This process, as attempts record it."""
        return WorkerId(session=session, node="local", pid=os.getpid())

    def lost_nodes(self) -> set[str]:
        """No node is ever lost."""
        return set()

    def room(self) -> int:
        """The memory that this process may take: one shard is restored at a time."""
        return int(machine_bytes() * WORKERS_SHARE)


class LocalExecutor:
    """Restores in this process. Loaded models are kept from run to run."""

    def __init__(self, threads: int | None = 1) -> None:
        self.restorers = Restorers(threads)

    @contextmanager
    def started(self) -> Iterator[Devices]:
        """Start nothing."""
        yield Devices(min(gpus(), 1), 1)

    def items(self, work: Run) -> Iterator[Item]:
        """Yield the values of the last stage."""
        settings, here = work.settings, ThisProcess()
        survey, assemble = SurveyStage(settings, here), AssembleStage(settings, here)
        restore = RestoreStage(settings, here, self.restorers)
        for clip in work.todo:
            for item in survey(clip):
                yield assemble(restore(item))

    def result(self, work: Run, clip: Clip) -> ClipResult:
        """Take a run of one clip through every stage. Return its published result.

        Raises ClipFault if the clip ends with a reason code.
        """
        for item in self.items(work):
            work.take(item)
        result = work.settings.ledger.result(clip.clip_id)
        if result.reason is not None:
            raise ClipFault(result.reason, result.sentence)
        return result
