"""Training from footage to weights: build the bank, prepare it, train, write weights and log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from jobs.training import curves
from jobs.training.dataset import BankLayout, build_bank, plan
from models.network.checkpoint import sha256
from models.training import dataset as training_bank
from models.training.train import Trainer, load_config
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
    config: Path,
    data: Path,
    out: Path,
    *,
    valid: Path | None = None,
    steps: int | None = None,
    workers: int = 2,
    start: Path | None = None,
) -> dict[str, object]:
    """Train with a configuration on a folder with ``video/`` and ``photo/``; return the results.

    An interrupted training continues. ``start`` names weights to start from; the default is random
    weights. ``out`` receives ``bank/`` (large), ``last.pt`` (to continue from),
    ``ema.safetensors``, ``log.jsonl`` and ``curves.svg``. Raises ArchiveError.
    """
    if not config.exists():
        raise ArchiveError(f"no training configuration at {config}: see models/recipes/")
    try:
        settings = load_config(config, steps=steps)
        banks = [
            prepared_bank(data, out / "bank" / preset, {preset: count}, BankLayout(), workers)
            for preset, count in settings.banks.items()
        ]
        valid_bank = None
        if valid is not None:
            presets = dict.fromkeys(VALIDATION_PRESETS, VALIDATION_SEQUENCES)
            valid_bank = prepared_bank(valid, out / "valid_bank", presets, VALIDATION, workers)
        trainer = Trainer(settings, banks, out, start=start)
    except (ValueError, TypeError) as error:
        raise ArchiveError(str(error)) from error
    trainer.run(valid=valid_bank)
    weights = out / "ema.safetensors"
    return {
        "weights": str(weights),
        "sha256": sha256(weights),
        "steps": trainer.step,
        "cpu_seconds": round(trainer.cpu_seconds),
        "curves": drawn(out / "log.jsonl"),
        "config": asdict(settings),
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
        build_bank(data, folder, items, layout=layout, workers=workers)
    if not (folder / "exposure.npy").exists():
        training_bank.prepare(folder, workers)
    return folder
