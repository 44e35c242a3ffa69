"""Training from footage to weights: build the bank, prepare it, train, write weights with their
log.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from jobs.bank import Layout, build_bank, plan
from models import bank as training_bank
from models.checkpoint import sha256
from models.train import Trainer, load_config
from schemas.errors import ArchiveError

VALIDATION = Layout(frames=12, size=128, grey_share=0.0, double_step_share=0.0)


def main(
    config: Path, data: Path, out: Path, *, valid: Path | None = None, sequences: int = 1386,
    steps: int | None = None, workers: int = 2, start: Path | None = None,
) -> dict[str, object]:  # fmt: skip
    """Train by a configuration on a folder with ``video/`` and ``photo/``; resumes where it
    stopped.

    ``start`` names weights to go on from instead of random ones.
    ``out`` receives ``bank/`` (large), ``last.pt`` to resume from, ``ema.safetensors`` and
    ``log.jsonl``.
    """
    if not config.exists():
        raise ArchiveError(f"no training configuration at {config}: see models/recipes/")
    try:
        settings = load_config(config, steps=steps)
    except (ValueError, TypeError) as error:
        raise ArchiveError(str(error)) from error
    bank = prepared_bank(data, out / "bank", sequences, "film_train", Layout(), workers)
    shelf = None
    if valid is not None:
        shelf = prepared_bank(valid, out / "valid_bank", 8, "film", VALIDATION, workers)
    try:
        trainer = Trainer(settings, bank, out, start=start)
    except ValueError as error:
        raise ArchiveError(str(error)) from error
    trainer.run(valid=shelf)
    weights = out / "ema.safetensors"
    return {
        "weights": str(weights), "sha256": sha256(weights), "steps": trainer.step,
        "cpu_seconds": round(trainer.cpu_seconds), "config": asdict(settings),
    }  # fmt: skip


def prepared_bank(
    data: Path, folder: Path, sequences: int, preset: str, layout: Layout, workers: int
) -> Path:
    """The bank in ``folder``, built from ``data`` and prepared unless it is there already."""
    if not (folder / "index.json").exists():
        items = plan(data, sequences, preset=preset)
        if not items:
            raise ArchiveError(
                f"{data} holds no footage: expected video/*.mp4 and photo/*.jpg below it"
            )
        build_bank(data, folder, items, layout=layout, workers=workers)
    if not (folder / "exposure.npy").exists():
        training_bank.prepare(folder, workers)
    return folder
