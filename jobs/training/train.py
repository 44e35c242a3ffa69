"""Training from footage to weights: build the bank, prepare it, train, write weights and log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from jobs.training import curves
from jobs.training.dataset import BankLayout, build_bank, plan
from models.network.checkpoint import sha256
from models.training import dataset as training_bank
from models.training.config import TrainConfig, load_config
from models.training.loader import LoaderError
from models.training.train import Trainer
from schemas.errors import ArchiveError

VALIDATION = BankLayout(
    frames=12,
    size=128,
    grey_share=0.0,
    double_step_share=0.0,
    procedural_share=0.0,
    things_share=0.0,
)
VALIDATION_PRESETS = ("film", "g25", "tape", "web")
VALIDATION_SEQUENCES = 8  # of each preset


def main(
    configs: Sequence[Path],
    data: Path,
    out: Path,
    *,
    valid: Path | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    workers: int = 2,
    starts: Sequence[Path] = (),
) -> dict[str, object]:
    """Train with configurations on a folder with ``video/`` and ``photo/``; return the results.

    Several configurations are trained side by side on the same batches. An interrupted training
    continues. ``seconds`` is the time of the training, without the banks; the default is by steps.
    ``starts`` names weights to start from, one for all or one for each configuration; the default
    is random weights. ``out`` receives ``bank/`` (large), ``last/`` (to continue from),
    ``ema.safetensors``, ``log.jsonl`` and ``curves.svg``; the last three of several configurations
    are in folders of their names. Raises ArchiveError.
    """
    given = dict(settings(configs, steps=steps))
    try:
        banks = [
            prepared_bank(data, out / "bank" / preset, {preset: count}, BankLayout(), workers)
            for preset, count in next(iter(given.values())).banks.items()
        ]
        valid_bank = None
        if valid is not None:
            presets = dict.fromkeys(VALIDATION_PRESETS, VALIDATION_SEQUENCES)
            valid_bank = prepared_bank(valid, out / "valid_bank", presets, VALIDATION, workers)
        trainer = Trainer(
            given, banks, out, starts=started(given, starts), workers=workers, seconds=seconds
        )
        trainer.run(valid=valid_bank)
    except (ValueError, TypeError, LoaderError) as error:
        raise ArchiveError(str(error)) from error
    return results(trainer)


def settings(configs: Sequence[Path], **overrides: object) -> dict[str, TrainConfig]:
    """Configurations by the names of their files. Raises ArchiveError."""
    given: dict[str, TrainConfig] = {}
    for path in configs:
        if not path.exists():
            raise ArchiveError(f"no training configuration at {path}: see models/recipes/")
        if path.stem in given:
            raise ArchiveError(f"two configurations have the name {path.stem}: rename a file")
        try:
            given[path.stem] = load_config(path, **overrides)
        except (ValueError, TypeError) as error:
            raise ArchiveError(str(error)) from error
    return given


def started(given: Mapping[str, TrainConfig], starts: Sequence[Path]) -> dict[str, Path]:
    """The weights that each configuration starts from. Raises ArchiveError."""
    if len(starts) == 1:
        return dict.fromkeys(given, starts[0])
    if starts and len(starts) != len(given):
        raise ArchiveError(
            f"{len(starts)} weights for {len(given)} configurations: give one for all, or one each"
        )
    return dict(zip(given, starts, strict=False))


def results(trainer: Trainer) -> dict[str, object]:
    """What a training wrote, by configuration, with its curves."""
    made = {
        name: {
            "weights": str(folder / "ema.safetensors"),
            "sha256": sha256(folder / "ema.safetensors"),
            "curves": drawn(folder / "log.jsonl"),
            "config": asdict(trainer.learners[name].config),
        }
        for name, folder in trainer.folders.items()
    }
    return {
        "steps": trainer.step,
        "cpu_seconds": round(trainer.cpu_seconds),
        "trained": made,
    }


def drawn(log: Path) -> str | None:
    """Draw the learning curves; return their path, or None if no loss was logged yet."""
    try:
        return str(curves.write(log))
    except ArchiveError:
        return None


def prepared_bank(
    data: Path, folder: Path, presets: Mapping[str, int], layout: BankLayout, workers: int
) -> Path:
    """Return the bank in ``folder``. Build it from ``data`` and prepare it if it is missing."""
    if not (folder / "index.json").exists():
        items = [
            item
            for preset, count in presets.items()
            for item in plan(data, count, preset, layout.procedural_share)
        ]
        build_bank(data, folder, items, layout=layout, workers=max(workers, 1))
    if not (folder / "exposure.npy").exists():
        training_bank.prepare(folder, max(workers, 1))
    return folder
