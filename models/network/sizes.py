"""The sizes of the network."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ModelSize:
    """Channels of one model size at half and quarter resolution and at the three denoiser levels.

    ``blocks`` is the number of Res blocks per level, ``flow`` a preset of
    models/motion/flow.py that takes a fitting share of the time.
    """

    half: int
    quarter: int
    levels: tuple[int, int, int]
    blocks: int
    flow: str = "medium"

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


SIZES = {
    #            H/2  H/4   H/4  H/8  H/16  Res blocks per level
    "micro": ModelSize(8, 16, (16, 24, 32), 1),  # for tests: trains in seconds
    "fast": ModelSize(16, 40, (40, 64, 96), 1, "coarse"),
    "base": ModelSize(24, 64, (64, 128, 192), 1, "fine"),
    "large": ModelSize(32, 96, (96, 192, 256), 2, "fine"),
}
