"""Damage presets: which degradations, how likely, and from which ranges.

A range `(low, high)` is drawn uniformly once per clip; a single number is fixed. Grey levels are
of 255, lengths in pixels. `film` is what the product is tested on, `film_train` is wider on
purpose: its centre lies near `film`.
"""

from dataclasses import dataclass, field

import numpy as np

Span = float | tuple[float, float]


@dataclass(frozen=True)
class Option:
    """One degradation and the ranges of its parameters."""

    name: str
    ranges: dict[str, Span]
    weight: float = 1.0


@dataclass(frozen=True)
class Slot:
    """One place in the life of the material, taken by one of its options or by nothing."""

    name: str
    chance: float
    options: tuple[Option, ...] = field(default=())

    def draw(self, rng: np.random.Generator) -> tuple[str, dict[str, float]] | None:
        """The degradation and its parameters for one clip, None when the clip is spared."""
        if rng.random() >= self.chance:
            return None
        weights = np.array([option.weight for option in self.options])
        option = self.options[int(rng.choice(len(weights), p=weights / weights.sum()))]
        return option.name, {key: draw(span, rng) for key, span in option.ranges.items()}


def draw(span: Span, rng: np.random.Generator) -> float:
    """A number from a range, or the fixed number itself."""
    return float(rng.uniform(*span)) if isinstance(span, tuple) else float(span)


def one(chance: float, name: str, **ranges: Span) -> Slot:
    """A slot with a single candidate."""
    return Slot(name, chance, (Option(name, ranges),))


FILM = (
    one(1.0, "blur", sigma_px=(0.6, 1.0)),
    one(1.0, "flicker", gain_sd=(0.045, 0.075), gamma_sd=(0.045, 0.075), rho=(0.1, 0.5)),
    one(1.0, "grain", strength=(11, 17), floor=0.5, bell=2, sigma_px=(0.45, 0.75), chroma=(3, 5)),
    one(1.0, "scratches", lines=3),
    one(1.0, "dust", rate=(3, 5), white_share=(0.2, 0.8)),
    one(0.5, "blotches", rate=(0.02, 0.12)),
    one(1.0, "h264", quality=(22, 26)),
)

FILM_TRAIN = (
    one(0.85, "blur", sigma_px=(0.3, 1.5)),
    one(0.8, "flicker", gain_sd=(0.01, 0.11), gamma_sd=(0, 0.11), rho=(0, 0.7)),
    one(0.9, "grain", strength=(2, 26), floor=(0.1, 1), bell=(0, 2.5), sigma_px=(0.2, 1.1),
        chroma=(0, 9)),
    one(0.25, "white_noise", sigma=(2, 30)),
    one(0.75, "scratches", lines=(1, 6)),
    one(0.8, "dust", rate=(0.3, 6), white_share=(0, 1)),
    one(0.3, "blotches", rate=(0.25, 0.7)),
    Slot("codec", 0.6, (
        Option("h264", {"quality": (15, 31)}, 0.7),
        Option("mpeg2video", {"quality": (2, 10)}, 0.15),
        Option("mpeg4", {"quality": (2, 10)}, 0.15),
    )),
)  # fmt: skip

PRESETS: dict[str, tuple[Slot, ...]] = {
    "film": FILM,
    "film_train": FILM_TRAIN,
    "g25": (one(1.0, "white_noise", sigma=25),),
    "noise": (one(1.0, "white_noise", sigma=(2, 42)),),
    "clean": (),
}
