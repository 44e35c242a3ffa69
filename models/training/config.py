"""The settings of a training: one TOML file (models/recipes/)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.training.dataset import Mix

OPTIMISERS = ("adamw", "muon", "sgd")
PIXEL_LOSSES = ("absolute", "square")  # "square": root of each sample's mean square error


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training; one TOML file (models/recipes/*.toml)."""

    size: str = "fast"
    severe: bool = False  # whether the damage levels of the frame are an input of the network
    steps: int = 14000
    batch: int = 8
    crop: int = 80
    lr: float = 1e-3
    lr_last: float = 1e-6
    warmup: int = 200  # steps; by the clock the same share of the time, at least 2 %
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    optimiser: str = "adamw"  # one of OPTIMISERS; "muon" for kernels, with AdamW for the rest
    clip: float = 1.0
    ema: float = 0.999
    bridge_share: float = 0.25  # share of the samples that are bridge samples, in the bridge stage
    bridge_from: float = 0.6  # share of the training after which the bridge stage begins
    kappa: float = 0.2
    latent_weight: float = 0.3
    defect_weight: float = 6.0  # pixel loss in defects and things, relative to elsewhere
    defect_map_weight: float = 0.02  # binary cross entropy of the defect map
    error_weight: float = 0.02  # absolute error of the predicted error
    charbonnier: float = 1e-3  # error in [0, 1] images below which the pixel loss is square
    pixel_loss: str = "absolute"  # one of PIXEL_LOSSES
    seed: int = 0
    log_every: int = 50  # steps
    validate_every: int = 1000  # steps; a checkpoint is written as well
    mix: Mix = field(default_factory=Mix)
    banks: dict[str, int] = field(default_factory=lambda: {"film_train": 1386})  # preset: sequences

    def __post_init__(self) -> None:
        for key, choices in (("optimiser", OPTIMISERS), ("pixel_loss", PIXEL_LOSSES)):
            if (value := getattr(self, key)) not in choices:
                raise ValueError(f"{key} {value!r}: choose of {', '.join(choices)}")


def load_config(path: Path, **overrides: object) -> TrainConfig:
    """Read a TrainConfig from TOML; ``overrides`` that are not None win.

    Raises ValueError with the names of unknown keys.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    values: dict[str, Any] = tomllib.loads(path.read_text()) | given
    unknown = set(values) - {f.name for f in fields(TrainConfig)}
    if unknown:
        raise ValueError(f"{path.name}: unknown settings {sorted(unknown)}")
    if "mix" in values:
        values["mix"] = Mix(**_tupled(values["mix"]))
    return TrainConfig(**_tupled(values))


def _tupled(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
