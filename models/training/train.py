"""Training of restoration networks, one or several side by side on the same batches: resumable, by
steps or by the clock, with logs as JSON lines.

A training has two stages: ``faithful`` regresses the posterior mean (t = 1, no noise); ``bridge``
trains all t with noise, so that sampling in more steps works. The VAE is fitted in closed form
before the first step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from models.network import checkpoint
from models.network.sizes import SIZES
from models.network.timing import StepTimer
from models.training import parts
from models.training.config import TrainConfig
from models.training.dataset import Bank, Batch
from models.training.learner import Learner
from models.training.loader import Loader, LoaderError
from models.training.schedule import Schedule
from models.training.validation import Validation

FIT_FRAMES = 400  # bank frames that the VAE is fitted on
SHARED = ("batch", "crop", "seed", "mix", "banks")  # settings of the batches


class Trainer:
    """One training in a folder.

    The folder gets ``last/`` (to resume), and ``ema.safetensors`` and ``log.jsonl`` of the network;
    of several, each has its own in a folder of its name.
    """

    def __init__(
        self,
        configs: Mapping[str, TrainConfig],
        banks: Sequence[Path],
        out: Path,
        *,
        starts: Mapping[str, Path] | None = None,
        workers: int = 0,
        seconds: float | None = None,
        device: torch.device | str | None = None,
        graph: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the banks; resume what is in the folder, or begin.

        ``workers`` processes make the batches. With ``seconds`` the training goes by the clock
        instead of the steps. ``graph`` is whether a step is a CUDA graph on a GPU. Raises
        ValueError if the configurations do not fit each other, the banks, or the checkpoint.
        """
        self.config = _shared(configs, seconds is None)
        self.out, self.last = out, out / "last"
        self.device = torch.device(device or checkpoint.device_default())
        self.data = Bank(banks, self.config.crop, self.config.mix, self.config.seed)
        self.learners = {
            name: Learner(config, self.device, graph) for name, config in configs.items()
        }
        self.folders = {name: out / name if len(configs) > 1 else out for name in configs}
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self.schedule = Schedule(self.config.steps, seconds, now)
        self.step, self.steps_here, self.samples = 0, 0, 0
        self.cpu_seconds = self.step_seconds = self.waited = 0.0
        self.timer = StepTimer(self.device)
        self.workers, self._saved = workers, -1
        self._opening: dict[str, dict[str, object]] = {}
        self._inputs: Batch | None = None
        if parts.exists(self.last):
            self._resume()
        else:
            self._begin(banks[0], starts or {})

    def _begin(self, bank: Path, starts: Mapping[str, Path]) -> None:
        if (self.out / "last.pt").exists():
            raise ValueError(
                f"{self.out / 'last.pt'} is of an older version: train into another folder, and "
                "start from the ema.safetensors here"
            )
        for name, learner in self.learners.items():
            if name in starts:
                learner.start_from(starts[name])
                self._opening[name] = {"start_sha256": checkpoint.sha256(starts[name])}
                continue
            clean = np.load(bank / "clean.npy", mmap_mode="r")
            rng = np.random.default_rng(self.config.seed)
            picks = rng.integers(len(clean), size=FIT_FRAMES)
            frames = np.stack([clean[n, rng.integers(clean.shape[1])] for n in picks])
            images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
            self._opening[name] = {"elbo_bits_per_dim": round(learner.fit_vae(images), 4)}

    def run(self, until: int | None = None, valid: Path | None = None) -> None:
        """Train to the end, or to ``until`` steps, then write the averaged weights.

        Validates on ``valid`` every `validate_every` steps and at the end; by the clock also at the
        beginning. Raises ValueError for too little time, and LoaderError.
        """
        self.schedule.begin()
        validation = None if valid is None else Validation(valid)
        for learner in self.learners.values():
            if validation is not None:
                validation.prepare(SIZES[learner.config.size].flow)
        if self.step == 0:
            self._open(validation)
        if not self._over(until):
            try:
                self._train(until, validation)
            except LoaderError:
                self._save()  # the steps so far are not lost
                raise
        if self.step == 0:
            raise ValueError(
                f"{self.schedule.elapsed:.0f} s were too few for the first step. Give more "
                "seconds, a smaller batch, or fewer networks"
            )
        if self._saved != self.step:
            self._finish(validation)
        self._save(over=self._over(None))

    def _over(self, until: int | None) -> bool:
        return self.schedule.over(self.step) or (until is not None and self.step >= until)

    def _open(self, validation: Validation | None) -> None:
        """Log what the training begins with; by the clock, see how long its end will take."""
        measured: dict[str, dict[str, object]] = {}
        if self.schedule.seconds is not None:
            with self.schedule.end():
                measured = self._validated(validation)
                self._save()
            if self.schedule.over(0):
                raise ValueError(
                    f"{self.schedule.seconds:.0f} s are too few: validation and checkpoint take "
                    f"{self.schedule.ending:.1f} s each time. Give more seconds"
                )
        for name, row in self._opening.items():
            self._log(name, {"step": 0, **row, **measured.get(name, {})})

    def _train(self, until: int | None, validation: Validation | None) -> None:
        pinned = self.device.type == "cuda"
        end = self.config.steps if until is None else until
        with Loader(self.data, self.config.batch, self.workers, pinned=pinned) as loader:
            batches = loader.batches(self.step, None if self.schedule.seconds else end)
            while not self._over(until):
                started, used = time.perf_counter(), time.process_time()
                with self.schedule.step():
                    self._advance(next(batches))
                self.step_seconds += time.perf_counter() - started
                self.cpu_seconds += time.process_time() - used + loader.taken()
                self.waited = loader.waited
                if self.step % self.config.log_every == 0:
                    for name, learner in self.learners.items():
                        means = {k: round(v, 6) for k, v in learner.measures().items()}
                        self._log(name, {"step": self.step, **self._times(), **means})
                if self.step % self.config.validate_every == 0:
                    self._finish(validation)

    def _times(self) -> dict[str, float]:
        times = {"cpu_s": self.cpu_seconds, "wall_s": self.step_seconds, "waited_s": self.waited}
        rounded = {name: round(seconds, 1) for name, seconds in times.items()}
        return rounded | {"step_ms": round(self.timer.milliseconds(), 1)}

    def _advance(self, batch: Batch) -> None:
        given = self._placed(batch)
        with self.timer:
            for learner in self.learners.values():
                learner.advance(given, self.schedule.pace(self.step, learner.config))
        self.step += 1
        self.steps_here += 1
        self.samples += len(batch.clean)

    def _placed(self, batch: Batch) -> Batch:
        """The batch on the device, always in the same tensors."""
        if self.device.type == "cpu":
            return batch
        if self._inputs is None:
            self._inputs = Batch(*(torch.empty_like(t, device=self.device) for t in batch.tensors))
        for target, source in zip(self._inputs.tensors, batch.tensors, strict=True):
            target.copy_(source, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        copied.synchronize()  # now the loader may have the batch's memory again
        return self._inputs

    def _finish(self, validation: Validation | None) -> None:
        """Write a checkpoint and validate."""
        with self.schedule.end():
            self._save()
            for name, row in self._validated(validation).items():
                self._log(name, {"step": self.step, **row})

    def _validated(self, validation: Validation | None) -> dict[str, dict[str, object]]:
        if validation is None:
            return {}
        return {name: validation.of(one.averaged()) for name, one in self.learners.items()}

    def _save(self, over: bool = False) -> None:
        state = {
            "step": self.step,
            "used": self.schedule.seconds if over else self.schedule.elapsed,
            "ending": self.schedule.ending,
            "cpu_seconds": self.cpu_seconds,
            "opening": self._opening,
            "learners": {name: learner.state() for name, learner in self.learners.items()},
        }
        parts.save(state, self.last)
        for name, learner in self.learners.items():
            facts: dict[str, object] = {
                "step": self.step,
                "cpu_seconds": round(self.cpu_seconds),
                "config": asdict(learner.config),
            }
            checkpoint.save(learner.averaged(), self.folders[name] / "ema.safetensors", facts)
        self._saved = self.step

    def _resume(self) -> None:
        state = parts.load(self.last, self.device)
        if list(state["learners"]) != list(self.learners):
            raise ValueError(
                f"the checkpoint in {self.last} is of {', '.join(state['learners'])}: give the "
                "same configurations in the same order, or another folder"
            )
        for name, learner in self.learners.items():
            learner.resume(state["learners"][name])
        self.step = self._saved = state["step"]
        self.cpu_seconds, self._opening = state["cpu_seconds"], state["opening"]
        self.schedule.used, self.schedule.ending = state["used"] or 0.0, state["ending"]

    def _log(self, name: str, row: dict[str, object]) -> None:
        with (self.folders[name] / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def _shared(configs: Mapping[str, TrainConfig], by_steps: bool) -> TrainConfig:
    """The first of the configurations. Raises ValueError if a setting of the batches differs."""
    first, *others = configs
    for key in (*SHARED, *(("steps",) if by_steps else ())):
        for other in others:
            values = [getattr(configs[name], key) for name in (first, other)]
            if values[0] != values[1]:
                raise ValueError(
                    f"trainings side by side have the same batches, but `{key}` is {values[0]} in "
                    f"{first} and {values[1]} in {other}: make it equal"
                )
    return configs[first]
